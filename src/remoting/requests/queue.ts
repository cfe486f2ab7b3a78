// A message queue in a body, also as the key of a map: `{{"brokerName":..}:..}`.
import { asObject } from '../json/json-members.ts'
import { number, object, type Shape, type Shaped, string } from '../json/shape.ts'

export const QUEUE_REF = object({ brokerName: string, queueId: number, topic: string })
export type QueueRef = Shaped<typeof QUEUE_REF>

export const queueTable = <T extends object>(
  item: Shape<T>,
): Shape<readonly (T & { readonly queue: QueueRef })[]> => ({
  of: (value) =>
    [...asObject(value)].map(([key, one]) => ({
      queue: QUEUE_REF.of(typeof key === 'string' ? null : key),
      ...item.of(one),
    })),
  out: (rows) => new Map(rows.map((row) => [QUEUE_REF.out(row.queue), item.out(row)])),
})

export interface QueuePosition {
  readonly queue: QueueRef
  readonly offset: number
}

export const QUEUE_POSITIONS: Shape<readonly QueuePosition[]> = queueTable({
  of: (value) => ({ offset: number.of(value) }),
  out: ({ offset }: { readonly offset: number }) => offset,
})
