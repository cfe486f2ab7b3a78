import test from 'ava'
import { onAbort } from '../src/abort.ts'

/** The signal, and how often a listener came or went. */
function watchedSignal(): { controller: AbortController; calls: () => number } {
  const controller = new AbortController()
  const { signal } = controller
  let calls = 0
  for (const name of ['addEventListener', 'removeEventListener'] as const) {
    const real = signal[name].bind(signal) as (...args: unknown[]) => void
    Object.defineProperty(signal, name, {
      value: (...args: unknown[]) => {
        calls++
        real(...args)
      },
    })
  }
  return { controller, calls: () => calls }
}

test('waits that share a signal are one listener, and end in their order', (t) => {
  const { controller, calls } = watchedSignal()
  const ended: string[] = []
  const off = ['a', 'b', 'c'].map((name) => onAbort(controller.signal, () => ended.push(name)))
  off[1]!()
  controller.abort()
  t.deepEqual(ended, ['a', 'c'])
  for (const callOff of off) callOff()
  t.is(calls(), 1)
})

test('one end may call another off', (t) => {
  const controller = new AbortController()
  const ended: string[] = []
  onAbort(controller.signal, () => off())
  const off = onAbort(controller.signal, () => ended.push('b'))
  controller.abort()
  t.deepEqual(ended, [])
})
