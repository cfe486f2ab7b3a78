import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import type { RemotingContext } from '../../../src/gateway/remoting/call.ts'
import { openSends, SendBatch } from '../../../src/gateway/remoting/send-batch.ts'
import { silentLogger } from '../../../src/log.ts'
import { Numbers } from '../../../src/numbers/numbers.ts'
import type { Output } from '../../../src/output.ts'
import { Traffic } from '../../../src/port/traffic.ts'
import { RESPONSE } from '../../../src/remoting/codes.ts'
import { SendResponses } from '../../../src/remoting/fast/send-response.ts'
import { CODEC_JSON } from '../../../src/remoting/frame.ts'
import { newMessage } from '../../support/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'

test.serial(
  'a batch of several turns is answered when the broker refuses it as a whole',
  async (t) => {
    const refused = new BrokerError('CLOSED', 'the broker is closed')
    const clock = new FakeClock()
    const traffic = new Traffic(new Numbers(), 'remoting')
    const broker = { publishTogether: () => Promise.reject(refused) }
    const unhandled = (): void => t.fail('a rejection was left alone, which ends the process')
    process.on('unhandledRejection', unhandled)
    t.teardown(() => process.off('unhandledRejection', unhandled))
    const answer = await new Promise<Buffer>((push) => {
      const options = {
        context: { broker, log: silentLogger, clock, traffic } as unknown as RemotingContext,
        output: { push } as unknown as Output,
        responses: new SendResponses({ ip: 0x7f000001, port: 10_911 }),
      }
      const sends = openSends(options, 1024, () => {})
      sends.batch.add(1, CODEC_JSON, false, new Array(5000).fill(newMessage('T')))
      sends.flush()
    })
    t.regex(answer.toString(), new RegExp(`"code":${RESPONSE.serviceNotAvailable}\\b`))
  },
)

test('answers between refusals come from one piece of memory', (t) => {
  const pieces: Buffer[] = []
  const responses = new SendResponses({ ip: 0x7f000001, port: 10_911 })
  const batch = new SendBatch({
    context: { log: silentLogger } as unknown as RemotingContext,
    output: { push: (piece: Buffer) => pieces.push(piece) } as unknown as Output,
    responses,
  })
  const refused = new BrokerError('TOPIC_NOT_FOUND', 'there is no such topic')
  const receipt = { queueId: 0, queueOffset: 0, position: 0 } as never
  const results = Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? receipt : refused))
  for (const i of results.keys()) batch.addOne(i, CODEC_JSON, false, newMessage('T'))
  batch.settle(results)
  const opaques = [
    ...Buffer.concat(pieces)
      .toString('latin1')
      .matchAll(/"opaque":(\d+)/g),
  ]
  t.deepEqual(
    opaques.map(([, opaque]) => Number(opaque)),
    [...results.keys()],
  )
  const accepted = pieces.filter((_, i) => i % 2 === 0)
  t.is(new Set(accepted.map(({ buffer }) => buffer)).size, 1)
})
