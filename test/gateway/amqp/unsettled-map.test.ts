// What a range of delivery ids finds, and whose deliveries are whose when links end.
import test from 'ava'
import {
  UNSETTLED_PER_CONNECTION_MAX,
  UNSETTLED_PER_CONNECTION_RESUMED,
} from '../../../src/gateway/amqp/limits.ts'
import type { SenderLink, Unsettled } from '../../../src/gateway/amqp/links/sender-link.ts'
import { UnsettledBudget } from '../../../src/gateway/amqp/links/unsettled-budget.ts'
import { UnsettledMap } from '../../../src/gateway/amqp/links/unsettled-map.ts'
import type { Receipt } from '../../../src/model/message.ts'

const link = (): SenderLink => ({}) as SenderLink

const receipt = (serial: number): Receipt => ({ serial }) as unknown as Receipt

const delivery = (deliveryId: number, owner: SenderLink): Unsettled => ({
  deliveryId,
  link: owner,
  receipt: receipt(deliveryId),
  lockedUntil: deliveryId,
  note: undefined,
})

const serials = (receipts: readonly Receipt[] = []): number[] =>
  receipts.map((one) => (one as unknown as { serial: number }).serial)

test('a range is taken once, across the wrap too', (t) => {
  const map = new UnsettledMap(new UnsettledBudget(() => {}))
  const owner = link()
  for (const id of [0xffff_fffe, 0xffff_ffff, 0, 1]) map.add(delivery(id, owner))
  const taken: number[] = []
  const note = ({ deliveryId }: Unsettled): number => taken.push(deliveryId)
  t.is(map.take(0xffff_ffff, 0, note), 2)
  t.is(map.take(0xffff_ffff, 0, note), 0)
  t.deepEqual(taken, [0xffff_ffff, 0])
  t.is(map.size, 2)
})

test("one link's deliveries leave without the others'", (t) => {
  const map = new UnsettledMap(new UnsettledBudget(() => {}))
  const [a, b] = [link(), link()]
  for (let id = 0; id < 6; id++) map.add(delivery(id, id % 2 === 0 ? a : b))
  t.deepEqual(serials(map.takeOf(a)), [0, 2, 4])
  t.is(map.size, 3)
})

test('all deliveries leave at once, each to its link', (t) => {
  const map = new UnsettledMap(new UnsettledBudget(() => {}))
  const [a, b, idle] = [link(), link(), link()]
  for (let id = 0; id < 6; id++) map.add(delivery(id, id < 4 ? a : b))
  map.add({ ...delivery(6, b), receipt: undefined })
  const byLink = map.takeAll()
  t.deepEqual(serials(byLink.get(a)), [0, 1, 2, 3])
  t.deepEqual(serials(byLink.get(b)), [4, 5])
  t.false(byLink.has(idle))
  t.is(map.size, 0)
})

test('what the maps of a connection hold is bounded, and there is room again when much of it has left', (t) => {
  let rooms = 0
  const budget = new UnsettledBudget(() => rooms++)
  const [one, two] = [new UnsettledMap(budget), new UnsettledMap(budget)]
  const [a, b] = [link(), link()]
  one.add(delivery(0, a))
  one.add(delivery(1, b))
  one.add(delivery(2, b))
  const rest = UNSETTLED_PER_CONNECTION_MAX - 3
  for (let id = 0; id < rest; id++) {
    t.true(budget.hasRoom)
    two.add(delivery(id, a))
  }
  t.false(budget.hasRoom)
  const tooMuch = UNSETTLED_PER_CONNECTION_MAX - UNSETTLED_PER_CONNECTION_RESUMED
  two.take(0, tooMuch - 5, () => {})
  one.delete(0)
  one.delete(0)
  one.takeOf(a)
  t.is(one.takeOf(b).length, 2)
  t.false(budget.hasRoom)
  t.is(rooms, 0)
  two.delete(tooMuch - 4)
  t.true(budget.hasRoom)
  t.is(rooms, 1)
  two.takeAll()
  for (let id = 0; id < UNSETTLED_PER_CONNECTION_MAX; id++) one.add(delivery(id, a))
  t.false(budget.hasRoom)
  one.takeAll()
  t.is(rooms, 2)
})

test('deliveries whose locks ran out come by link', (t) => {
  const map = new UnsettledMap(new UnsettledBudget(() => {}))
  const [a, b] = [link(), link()]
  for (let id = 0; id < 6; id++) map.add(delivery(id, id % 2 === 0 ? a : b))
  const ids = [...map.lockedUntil(3).values()].map((ended) => ended.map((one) => one.deliveryId))
  t.deepEqual(ids, [
    [0, 2],
    [1, 3],
  ])
})
