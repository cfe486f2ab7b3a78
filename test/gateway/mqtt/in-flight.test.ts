import test from 'ava'
import fc from 'fast-check'
import type { Home } from '../../../src/gateway/mqtt/outgoing/home.ts'
import { InFlight, RELEASED, SENT } from '../../../src/gateway/mqtt/session/in-flight.ts'
import { homeOf } from '../../support/mqtt-places.ts'

const add = (inFlight: InFlight, offset: number) => inFlight.add(homeOf(offset), 1, undefined)

test('ids start at 1, go up, and wrap to 1 without 0', (t) => {
  const inFlight = new InFlight()
  for (let id = 1; id <= 65_535; id++) {
    t.is(add(inFlight, id), id)
    inFlight.remove(inFlight.find(id))
  }
  t.is(add(inFlight, 0), 1)
})

test('an id that is held is never given again, however far the others go', (t) => {
  const inFlight = new InFlight()
  t.is(add(inFlight, 7), 1)
  t.is(add(inFlight, 8), 2)
  for (let i = 0; i < 200_000; i++) {
    const id = add(inFlight, i)
    if (id <= 2) t.fail(`id ${id} was given twice`)
    inFlight.remove(inFlight.find(id))
  }
  t.is(inFlight.count, 2)
  t.deepEqual(inFlight.homeAt(inFlight.find(1)), homeOf(7))
})

test('what is restored keeps its ids, its states and its order', (t) => {
  const inFlight = new InFlight()
  inFlight.restore(
    [
      { packetId: 65_535, home: homeOf(10), qos: 1, state: SENT },
      { packetId: 1, home: homeOf(20), qos: 2, state: RELEASED },
    ],
    65_535,
  )
  t.deepEqual(
    [...inFlight.slots()].map((slot) => inFlight.entryAt(slot).packetId),
    [65_535, 1],
  )
  t.is(add(inFlight, 30), 2, 'neither 65,535 nor 1 is free')
  t.is(inFlight.stateAt(inFlight.find(1)), RELEASED)
})

interface Entry {
  readonly id: number
  readonly home: Home
}

test('any order of sending and finishing agrees with a plain list', (t) => {
  const steps = fc.array(fc.oneof(fc.constant(-1), fc.nat(300)), { maxLength: 800 })
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 40 }), (list, topics) => {
      const inFlight = new InFlight()
      const model: Entry[] = []
      let offset = 2 ** 40
      for (const step of list) {
        if (step === -1 || model.length === 0) {
          offset++
          const home = homeOf(offset, `t${offset % topics}`, `b${offset % 3}`)
          model.push({ id: inFlight.add(home, 1, undefined), home })
        } else {
          const [gone] = model.splice(step % model.length, 1)
          inFlight.remove(inFlight.find(gone!.id))
        }
      }
      const entries = [...inFlight.slots()].map((slot) => inFlight.entryAt(slot))
      t.deepEqual(
        entries.map(({ packetId, home }) => ({ id: packetId, home })),
        model,
      )
      t.is(inFlight.count, model.length)
      for (const { id } of model) t.not(inFlight.find(id), -1)
    }),
    { numRuns: 300 },
  )
})
