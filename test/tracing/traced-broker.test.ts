import * as api from '@opentelemetry/api'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import test from 'ava'
import { systemClock } from '../../src/clock.ts'
import { BrokerError } from '../../src/errors.ts'
import { encodeProperties } from '../../src/model/properties.ts'
import { recordBytes, writeRecord } from '../../src/model/record.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import type { Broker } from '../../src/port/broker.ts'
import { MessageSpans } from '../../src/tracing/message-spans.ts'
import { tracedBroker } from '../../src/tracing/traced-broker.ts'

test('the span of an acknowledgement of POP that fails ends with the error', async (t) => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  let made = 0
  const target = {
    ...{ api, tracer: provider.getTracer('test'), hasRoom: true, close: async () => {} },
    made: () => void made++,
  }
  const options = { serviceName: 'test', ratio: 0, spansPerSecondMax: 10 }
  const spans = new MessageSpans(target, options, systemClock, new Numbers())
  const message = { topic: 'orders', queueId: 0, offset: 7, attempt: 1, record: tracedRecord() }
  const broker = tracedBroker(
    {
      pops: {
        pop: async () => ({ poppedAt: 1, messages: [message] }),
        ack: async () => {
          throw new BrokerError('CLOSED', 'the broker is closed')
        },
      },
    } as unknown as Broker,
    'remoting',
    spans,
  )
  await broker.pops.pop({ group: 'billing' } as Parameters<Broker['pops']['pop']>[0])
  const delivery = { group: 'billing', topic: 'orders', queueId: 0, poppedAt: 1, offsets: [7] }
  const acks = [delivery] as unknown as Parameters<Broker['pops']['ack']>[0]
  await t.throwsAsync(broker.pops.ack(acks), { code: 'CLOSED' })
  const ended = exporter.getFinishedSpans()
  t.is(ended.length, made)
  t.is(ended.at(-1)?.attributes['error.type'], 'CLOSED')
})

function tracedRecord(): Buffer {
  const host = { ip: 0, port: 0 }
  const context = `00-${'a'.repeat(32)}-${'1'.repeat(16)}-01`
  const draft = {
    ...{ topic: 'orders', queueId: 0, flag: 0, sysFlag: 0, bornTimestamp: 0, bornHost: host },
    ...{ reconsumeTimes: 0, preparedPosition: 0, body: Buffer.from('x') },
    properties: encodeProperties([['traceparent', context]]),
  }
  const bytes = Buffer.alloc(recordBytes(draft))
  const place = { queueOffset: 7, position: 0, storeTimestamp: 0, storeHost: host }
  writeRecord(bytes, 0, draft, place)
  return bytes
}
