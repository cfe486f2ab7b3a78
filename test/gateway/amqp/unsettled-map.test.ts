// What a range of delivery ids finds, and whose deliveries are whose when links end.
import test from 'ava'
import type { SenderLink, Unsettled } from '../../../src/gateway/amqp/links/sender-link.ts'
import { UnsettledMap } from '../../../src/gateway/amqp/links/unsettled-map.ts'
import type { Receipt } from '../../../src/model/message.ts'
import { queueOffset } from '../../../src/model/positions.ts'

const link = (): SenderLink => ({}) as SenderLink

const receipt = (serial: number): Receipt => ({
  group: 'g',
  topic: 'orders',
  queueId: 0,
  queueOffset: queueOffset(serial),
  serial,
})

const delivery = (deliveryId: number, owner: SenderLink): Unsettled => ({
  deliveryId,
  link: owner,
  receipt: receipt(deliveryId),
  lockedUntil: deliveryId,
  note: undefined,
})

const serials = (receipts: readonly Receipt[] = []): number[] => receipts.map((one) => one.serial)

test('a range is taken once, across the wrap too', (t) => {
  const map = new UnsettledMap()
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
  const map = new UnsettledMap()
  const [a, b] = [link(), link()]
  for (let id = 0; id < 6; id++) map.add(delivery(id, id % 2 === 0 ? a : b))
  t.deepEqual(serials(map.takeOf(a)), [0, 2, 4])
  t.is(map.size, 3)
})

test('all deliveries leave at once, each to its link', (t) => {
  const map = new UnsettledMap()
  const [a, b, idle] = [link(), link(), link()]
  for (let id = 0; id < 6; id++) map.add(delivery(id, id < 4 ? a : b))
  map.add({ ...delivery(6, b), receipt: undefined })
  const byLink = map.takeAll()
  t.deepEqual(serials(byLink.get(a)), [0, 1, 2, 3])
  t.deepEqual(serials(byLink.get(b)), [4, 5])
  t.false(byLink.has(idle))
  t.is(map.size, 0)
})
