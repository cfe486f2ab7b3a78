// Acknowledgements of messages that were popped, on their way to a broker.
import test from 'ava'
import { AckLine } from '../../src/client/consume/popped.ts'
import type { Brokers } from '../../src/client/routes/brokers.ts'
import { RESPONSE } from '../../src/remoting/codes.ts'
import { type BatchAck, decodeBatchAck, type PopHandle } from '../../src/remoting/requests/pop.ts'

function opened() {
  const requests: BatchAck[][] = []
  const request = async (_code: number, { body }: { readonly body: Buffer }) => {
    requests.push(decodeBatchAck(body))
    return { code: RESPONSE.success }
  }
  const brokers = { connection: async () => ({ request }) } as unknown as Brokers
  return { line: new AckLine(brokers, 3_000), requests }
}

const OF = { group: 'workers', topic: 'orders' }

const handleOf = (offset: number, more: Partial<PopHandle> = {}): PopHandle => ({
  ...{ brokerName: 'broker-a', retryKind: '0', startOffset: 10, queueId: 1 },
  ...{ reviveQid: 0, popTime: 1_000, invisibleTime: 60_000, offset, ...more },
})

test('those of one POP and queue are one entry', async (t) => {
  const { line, requests } = opened()
  const handles = [handleOf(10), handleOf(11), handleOf(19), handleOf(10, { queueId: 2 })]
  await Promise.all(handles.map((handle) => line.add(OF, handle)))
  t.is(requests.length, 1)
  t.deepEqual(
    requests[0]!.map(({ queueId, offsets }) => [queueId, offsets]),
    [
      [1, [10, 11, 19]],
      [2, [10]],
    ],
  )
})

test('those of another POP, or under a changed time, are not', async (t) => {
  const { line, requests } = opened()
  const handles = [
    handleOf(10),
    handleOf(11, { popTime: 1_001 }),
    handleOf(12, { invisibleTime: 5_000 }),
  ]
  await Promise.all(handles.map((handle) => line.add(OF, handle)))
  t.deepEqual(
    requests.flat().map(({ offsets }) => offsets),
    [[10], [11], [12]],
  )
})

test('more than one request may have go by several', async (t) => {
  const { line, requests } = opened()
  const handles = Array.from({ length: 5_000 }, (_, i) => handleOf(10, { popTime: i }))
  await Promise.all(handles.map((handle) => line.add(OF, handle)))
  t.true(requests.length > 1)
  const times = new Set(requests.flat().map(({ popTime }) => popTime))
  t.is(times.size, 5_000)
})
