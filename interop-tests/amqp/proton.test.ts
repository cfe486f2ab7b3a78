// Unmodified Apache Qpid Proton against our server in a process of its own: every AMQP type as a body, and
// the bare messages compared byte for byte.

import { hashPassword } from '../../src/access/secrets/password.ts'
import { makeScramKeys, scramText } from '../../src/access/secrets/scram-keys.ts'
import { Sections } from '../../src/gateway/amqp/codec/sections.ts'
import { spawnServer } from '../../test/support/server.ts'
import type { ClientEvent } from '../support/foreign-client.ts'
import { needing, serverForAll } from '../support/needing.ts'
import { findProton, proton, protonTransactions } from '../support/proton-client.ts'

const { python, missing } = await findProton()
const testProton = needing('every test with Qpid Proton', missing)

const server = serverForAll(missing)

const bytesOf = (event: ClientEvent): Buffer => Buffer.from(String(event['bytes']), 'base64')

/** Everything behind header and annotations. */
function bareOf(bytes: Buffer): Buffer {
  const sections = new Sections()
  sections.scan(bytes, 0, bytes.length)
  const hasProperties = sections.propertiesAt < sections.propertiesEnd
  return bytes.subarray(hasProperties ? sections.propertiesAt : sections.bodyAt)
}

testProton('every type comes out of the broker as it went in, to the last byte', async (t) => {
  const url = `amqp://${server().address('amqp')}`
  const sender = proton(t, python!, 'send', url, 'proton.types')
  const events = await sender.ends()
  t.deepEqual(
    events.filter(({ event }) => event === 'failed'),
    [],
  )
  const sent = sender.of('sent')
  t.is(sent.length, 32)
  const states = sender.of('settled')
  t.true(states.every((event) => event['state'] === 'ACCEPTED'))
  // One queue after the other would lose the order; what came is matched by its bytes.
  const receiver = proton(t, python!, 'receive', url, 'proton.types::types', String(sent.length))
  await receiver.ends()
  const got = new Set(receiver.got.map((event) => bareOf(bytesOf(event)).toString('hex')))
  for (const event of sent) {
    t.true(got.has(bareOf(bytesOf(event)).toString('hex')), String(event['name']))
  }
  t.is(got.size, sent.length)
})

testProton('header fields and annotations of a sender reach the receiver', async (t) => {
  const url = `amqp://${server().address('amqp')}`
  await proton(t, python!, 'send', url, 'proton.rich').ends()
  const receiver = proton(t, python!, 'receive', url, 'proton.rich?tag=TagA', '1')
  await receiver.ends()
  const [rich] = receiver.got as unknown as Record<string, unknown>[]
  t.like(rich, { subject: 'TagA', count: 0, priority: 7 })
  // What is left of it.
  const ttl = rich?.['ttl'] as number
  t.true(ttl > 0 && ttl <= 60, `${ttl}`)
  t.like(rich?.['annotations'] as object, {
    'x-opt-mine': 'kept',
    'x-opt-rmq-topic': 'proton%2Erich',
    'x-opt-rmq-tag': 'TagA',
    'x-opt-rmq-keys': 'k1 k2',
  })
})

testProton('transactions commit messages and acceptances, or take them back', async (t) => {
  const url = `amqp://${server().address('amqp')}`
  const client = protonTransactions(t, python!, url, 'proton.transactions')
  const events = await client.ends()
  t.deepEqual(
    events.filter(({ event }) => event === 'failed'),
    [],
  )
  const words = client.events.filter(({ event }) => event !== 'done').map((event) => event['text'])
  const [two, twoAgain] = [words.slice(2, 4), words.slice(5, 7)]
  for (const taken of [two, twoAgain]) t.deepEqual(taken.toSorted(), ['first', 'second'])
  const ends = [0, 1, 4, 7].map((at) => words[at])
  t.deepEqual(ends, ['committed', 'aborted', 'aborted', 'committed'])
  t.deepEqual(words.slice(8), ['last'])
})

testProton(
  'it logs in by PLAIN where SCRAM is offered, which it lacks without Cyrus SASL',
  async (t) => {
    const scram = scramText(await makeScramKeys('a word'))
    const password = await hashPassword('a word')
    const ann = { scram, password, publish: ['orders'], create: ['orders'] }
    const guarded = await spawnServer(t, { config: { users: { ann } } })
    const send = (word: string) =>
      proton(t, python!, 'send', `amqp://ann:${word}@${guarded.address('amqp')}`, 'orders')
    const right = send('a%20word')
    t.deepEqual(
      (await right.ends()).filter(({ event }) => event === 'failed'),
      [],
    )
    t.is(right.of('settled').length, 32)
    const wrong = send('another')
    await wrong.ends().catch(() => {})
    t.regex(String(wrong.of('failed')[0]?.['error']), /amqp:unauthorized-access/)
  },
)
