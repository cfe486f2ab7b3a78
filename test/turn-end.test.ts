import test from 'ava'
import { afterTurnEnd, atTurnEnd } from '../src/turn-end.ts'

const later = (fn: () => void): void => void setImmediate(fn)

test('what the end of a turn is answered with goes out before the next turn', async (t) => {
  const order: string[] = []
  await new Promise<void>((resolve) => {
    atTurnEnd(() => {
      order.push('durable')
      later(() => order.push('next turn'))
      void Promise.resolve()
        .then(() => Promise.resolve())
        .then(() => {
          order.push('told')
          afterTurnEnd(() => order.push('sent'))
        })
      later(resolve)
    })
  })
  t.deepEqual(order, ['durable', 'told', 'sent', 'next turn'])
})

test('what is written during a turn goes out at its end', async (t) => {
  const order: string[] = []
  await new Promise<void>((resolve) => {
    later(() => {
      afterTurnEnd(() => order.push('sent'))
      process.nextTick(() => order.push('written'))
      later(resolve)
    })
  })
  t.deepEqual(order, ['written', 'sent'])
})
