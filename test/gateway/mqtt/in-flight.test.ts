import test from 'ava'
import fc from 'fast-check'
import { InFlight, RELEASED, SENT } from '../../../src/gateway/mqtt/session/in-flight.ts'
import { logPosition } from '../../../src/model/positions.ts'

const add = (inFlight: InFlight, position: number) =>
  inFlight.add(logPosition(position), 1, undefined)

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
  t.is(inFlight.positionAt(inFlight.find(1)), logPosition(7))
})

test('what is restored keeps its ids, its states and its order', (t) => {
  const inFlight = new InFlight()
  inFlight.restore(
    [
      { packetId: 65_535, position: logPosition(10), qos: 1, state: SENT },
      { packetId: 1, position: logPosition(20), qos: 2, state: RELEASED },
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
  readonly position: number
}

test('any order of sending and finishing agrees with a plain list', (t) => {
  const steps = fc.array(fc.oneof(fc.constant(-1), fc.nat(300)), { maxLength: 800 })
  fc.assert(
    fc.property(steps, (list) => {
      const inFlight = new InFlight()
      const model: Entry[] = []
      let position = 0
      for (const step of list) {
        if (step === -1 || model.length === 0) {
          position++
          model.push({ id: add(inFlight, position), position })
        } else {
          const [gone] = model.splice(step % model.length, 1)
          inFlight.remove(inFlight.find(gone!.id))
        }
      }
      const entries = [...inFlight.slots()].map((slot) => inFlight.entryAt(slot))
      t.deepEqual(
        entries.map((entry) => ({ id: entry.packetId, position: entry.position as number })),
        model,
      )
      t.is(inFlight.count, model.length)
      for (const { id } of model) t.not(inFlight.find(id), -1)
    }),
    { numRuns: 300 },
  )
})
