// Request-reply whatever protocol requester and responder speak.
import test, { type ExecutionContext } from 'ava'
import type { IPublishPacket } from 'mqtt'
import type { Message } from 'rhea'
import { connect } from '../../src/client/index.ts'
import { bodyText, connectRhea, type PeerErrorShape } from '../support/amqp/rhea-client.ts'
import { cheapHash } from '../support/cheap-password.ts'
import { mqttClient } from '../support/mqtt/mqtt.ts'
import { startServer, type TestServer } from '../support/server.ts'

const QUESTIONS = 'questions'

async function start(t: ExecutionContext): Promise<TestServer> {
  const server = await startServer(t)
  const mq = await native(t, server)
  for (const name of [QUESTIONS, 'answers']) await mq.admin.topics.create({ name, queues: 1 })
  return server
}

async function native(t: ExecutionContext, server: TestServer) {
  const mq = await connect({ nameServers: server.address('nameServer') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return mq
}

const answerTo = (question: string): string => `answer to ${question}`

/** Each replies to one question; the function that it answers with settles when it has. */
const RESPONDERS = {
  native: async (t: ExecutionContext, server: TestServer) => {
    const mq = await native(t, server)
    const subscription = mq.subscribe({ group: 'responders', topic: QUESTIONS, from: 'first' })
    return async () => {
      const { value: request } = await subscription.next()
      await mq.reply(request!, { body: answerTo(request!.text()), properties: { by: 'native' } })
    }
  },
  mqtt: async (t: ExecutionContext, server: TestServer) => {
    const client = await mqttClient(t, server.port('mqtt'), 5)
    await client.subscribe(`${QUESTIONS}/#`)
    return async () => {
      const [request] = await client.messages(1)
      const { responseTopic, correlationData } = request!
        .properties as IPublishPacket['properties'] & {}
      await client.publish(responseTopic!, answerTo(request!.text), {
        properties: { correlationData: correlationData!, userProperties: { by: 'mqtt' } },
      })
    }
  },
  amqp: async (t: ExecutionContext, server: TestServer) => {
    const client = await connectRhea(t, server.port('amqp'))
    const receiver = await client.receiver(`${QUESTIONS}::responders`)
    return async () => {
      const [request] = await receiver.accept(1)
      const sender = await client.sender(request!.reply_to!)
      // As JMS clients do it.
      const correlation_id = request!.correlation_id ?? request!.message_id!
      const application_properties = { by: 'amqp' }
      const body = answerTo(bodyText(request!))
      t.is((await sender.send({ body, correlation_id, application_properties })).kind, 'accepted')
    }
  },
} as const

interface Answered {
  readonly text: string
  readonly by: unknown
}

/** Each asks, and checks that the correlation id of the reply is the one it gave. */
const REQUESTERS = {
  native: async (t: ExecutionContext, server: TestServer): Promise<Answered> => {
    const mq = await native(t, server)
    const reply = await mq.request({ topic: QUESTIONS, body: 'why' }, { timeoutMs: 60_000 })
    return { text: reply.text(), by: reply.properties.get('by') }
  },
  mqtt: async (t: ExecutionContext, server: TestServer): Promise<Answered> => {
    const client = await mqttClient(t, server.port('mqtt'), 5)
    await client.subscribe('my/answers')
    const correlationData = Buffer.of(0, 255, 1, 2)
    await client.publish(`${QUESTIONS}/first`, 'why', {
      properties: { responseTopic: 'my/answers', correlationData },
    })
    const [reply] = await client.messages(1)
    t.deepEqual(reply!.properties['correlationData'], correlationData)
    const { by } = reply!.properties['userProperties'] as { by?: string }
    return { text: reply!.text, by }
  },
  amqp: async (t: ExecutionContext, server: TestServer): Promise<Answered> => {
    const client = await connectRhea(t, server.port('amqp'))
    const receiver = await client.receiver('answers::me')
    const sender = await client.sender(QUESTIONS)
    const request: Message = { body: 'why', reply_to: 'answers', message_id: 'the-question' }
    await sender.send(request)
    const [reply] = await receiver.accept(1)
    t.is(reply!.correlation_id, 'the-question')
    return { text: bodyText(reply!), by: reply!.application_properties?.['by'] }
  },
} as const

type Name = keyof typeof RESPONDERS
const NAMES = Object.keys(RESPONDERS) as Name[]

for (const requester of NAMES) {
  for (const responder of NAMES) {
    test(`a request of ${requester} is answered by ${responder}`, async (t) => {
      const server = await start(t)
      const respond = await RESPONDERS[responder](t, server)
      const [answered] = await Promise.all([REQUESTERS[requester](t, server), respond()])
      t.is(answered.text, answerTo('why'))
      t.is(answered.by, responder)
    })
  }
}

test('a reply to a client that is not there is refused by every protocol', async (t) => {
  const server = await start(t)
  const mqtt = await mqttClient(t, server.port('mqtt'), 5)
  const refused = await t.throwsAsync(mqtt.publish('$trivet/reply/nobody/c', 'late'))
  t.is((refused as { code?: unknown }).code, 0x83)
  const amqp = await connectRhea(t, server.port('amqp'))
  const sender = await amqp.sender('/replies/nobody/c')
  const outcome = await sender.send({ body: 'late' })
  t.is(outcome.kind, 'rejected')
  t.is(outcome.error?.condition, 'amqp:not-found')
})

test('a responder replies only where it may publish', async (t) => {
  const grant = { admin: false, consume: ['*'], create: [] }
  const password = cheapHash('secret')
  const server = await startServer(t, {
    config: {
      users: {
        boss: { admin: true, password },
        shy: { ...grant, publish: [QUESTIONS], password },
      },
    },
  })
  const shy = { username: 'shy', password: 'secret' }
  const client = await mqttClient(t, server.port('mqtt'), 5, shy)
  for (const to of ['nobody/c', 'mqtt%3Amy%2Fanswers/c', 'topic%3ATBW102', 'topic%3Aanswers']) {
    const refused = await t.throwsAsync(client.publish(`$trivet/reply/${to}`, 'x'), undefined, to)
    t.is((refused as { code?: unknown }).code, 0x87, to)
  }
  const amqp = await connectRhea(t, server.port('amqp'), shy)
  const sender = await amqp.sender('/replies/mqtt%3Amy%2Fanswers/c')
  t.is((await sender.send({ body: 'x' })).error?.condition, 'amqp:unauthorized-access')
})

test('what names no place for a reply is refused', async (t) => {
  const server = await start(t)
  const client = await mqttClient(t, server.port('mqtt'), 5)
  const wrong = ['', 'a/b/c', '%', 'mqtt%3A', 'mqtt%3A%24SYS%2Fx', 'mqtt%3Aa%2F%23', 'topic%3A.']
  for (const to of wrong)
    await t.throwsAsync(client.publish(`$trivet/reply/${to}`, 'x'), undefined, to)
  const amqp = await connectRhea(t, server.port('amqp'))
  const conditionOf = (attached: Promise<unknown>): Promise<string | undefined> =>
    attached.then(
      () => undefined,
      ({ condition }: PeerErrorShape) => condition,
    )
  t.is(await conditionOf(amqp.receiver('/replies/someone/c')), 'amqp:not-found')
  t.is(await conditionOf(amqp.sender('/replies/a/b/c')), 'amqp:not-found')
})
