// Unmodified rhea against our server in a process of its own, across kill -9: what was accepted is there.
import test from 'ava'
import rhea from 'rhea'
import { bodyText, connectRhea, next } from '../../test/support/amqp/rhea-client.ts'
import { spawnServer } from '../../test/support/server.ts'

const upTo = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

test('what was accepted before a kill -9 is there after it, in order', async (t) => {
  const server = await spawnServer(t)
  const client = await connectRhea(t, server.port('amqp'))
  const sender = await client.sender('orders')
  const accepted: string[] = []
  const settled = upTo(2000).map((body) =>
    sender.send({ group_id: 'one', body }).then(({ kind }) => {
      if (kind === 'accepted') accepted.push(body)
    }),
  )
  await Promise.all(settled.slice(0, 1200))
  const gone = next(client.connection, 'disconnected')
  await server.kill()
  // What the broker said before it died may still be on its way.
  await gone
  const count = accepted.length
  t.true(count >= 1200)
  await server.start()
  const again = await connectRhea(t, server.port('amqp'))
  const receiver = await again.receiver('orders::billing')
  const bodies = (await receiver.accept(count)).map(bodyText)
  t.deepEqual(bodies, accepted)
})

test('a group goes on where it was after a kill -9, and nothing unsettled is lost', async (t) => {
  const server = await spawnServer(t)
  const client = await connectRhea(t, server.port('amqp'))
  const sender = await client.sender('orders')
  await Promise.all(upTo(100).map((body) => sender.send({ body })))
  const receiver = await client.receiver('orders::billing')
  const done = (await receiver.accept(40)).map(bodyText)
  receiver.credit(20)
  for (let i = 0; i < 20; i++) await receiver.take()
  await server.kill()
  await server.start()
  const again = await connectRhea(t, server.port('amqp'))
  const heir = await again.receiver('orders::billing')
  const rest = new Set<string>()
  heir.credit(100)
  // Settlements of the last moment may be forgotten by a kill; a message may come twice, but none is lost.
  while (new Set([...done, ...rest]).size < 100) {
    const { message, delivery } = await heir.take()
    rest.add(bodyText(message))
    delivery?.accept()
  }
  t.true(rest.size >= 60)
})

test('a client that reconnects by itself goes on after a restart', async (t) => {
  const server = await spawnServer(t)
  const container = rhea.create_container()
  const port = server.port('amqp')
  container.on('disconnected', () => {})
  container.on('error', () => {})
  const connection = container.connect({
    host: '127.0.0.1',
    port,
    username: 'anonymous',
    initial_reconnect_delay: 50,
    max_reconnect_delay: 200,
  })
  t.teardown(() => connection.close())
  const received: string[] = []
  const all = new Promise<void>((resolve) => {
    container.on('message', ({ message }) => {
      received.push(bodyText(message!))
      if (received.includes('after')) resolve()
    })
  })
  connection.open_receiver('orders::g')
  const sender = connection.open_sender('orders')
  await next(sender as never, 'sendable')
  sender.send({ body: 'before' })
  await next(sender as never, 'accepted')
  await server.kill()
  const sendable = next(sender as never, 'sendable')
  await server.start()
  await sendable
  sender.send({ body: 'after' })
  await next(sender as never, 'accepted')
  await all
  t.true(received.includes('before'))
})
