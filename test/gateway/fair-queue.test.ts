import test from 'ava'
import fc from 'fast-check'
import { FairQueue, type WaitingLogin } from '../../src/gateway/access/fair-queue.ts'

const login = (address: string, name: string, refuse = () => {}): WaitingLogin => ({
  ...{ address, name, refuse },
  start: () => {},
})

const ALL = (): boolean => true

test('a login that is alone with an address and a name is among the next two, however many wait', (t) => {
  const queue = new FairQueue(1000)
  for (let i = 0; i < 100; i++) queue.add(login('crowd', `name ${i}`))
  for (let i = 0; i < 100; i++) queue.add(login(`address ${i}`, 'crowd'))
  const alone = login('alone', 'alone')
  queue.add(alone)
  // It stands behind those that came before it, by one of the two.
  const taken = Array.from({ length: 205 }, () => queue.take(ALL))
  t.true(taken.indexOf(alone) <= 202)
})

test('one address with many names takes every other turn at most', (t) => {
  const queue = new FairQueue(1000)
  for (let i = 0; i < 100; i++) queue.add(login('crowd', `name ${i}`))
  const alone = login('alone', 'alone')
  queue.add(alone)
  const taken = Array.from({ length: 4 }, () => queue.take(ALL))
  t.true(taken.includes(alone))
})

test('the newest of the crowd goes when there is no room', (t) => {
  const queue = new FairQueue(3)
  const refused: string[] = []
  const add = (address: string, name: string): void =>
    queue.add(login(address, name, () => refused.push(`${address} ${name}`)))
  for (const name of ['a', 'b', 'c']) add('crowd', name)
  add('alone', 'z')
  t.deepEqual(refused, ['crowd c'])
  add('crowd', 'd')
  t.deepEqual(refused, ['crowd c', 'crowd d'])
  t.is(queue.size, 3)
})

test('each login that was added is taken once or refused once', (t) => {
  const step = fc.option(fc.tuple(fc.integer({ max: 3, min: 0 }), fc.integer({ max: 3, min: 0 })))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new FairQueue(5)
      const waiting = new Set<WaitingLogin>()
      for (const given of steps) {
        if (given === null) {
          const taken = queue.take(ALL)
          t.is(taken !== undefined, waiting.size > 0)
          if (taken !== undefined) t.true(waiting.delete(taken))
        } else {
          const one: WaitingLogin = login(`a${given[0]}`, `n${given[1]}`, () => {
            t.true(waiting.delete(one))
          })
          waiting.add(one)
          queue.add(one)
        }
        t.is(queue.size, waiting.size)
        t.true([...queue].every((one) => waiting.has(one)))
      }
    }),
  )
})
