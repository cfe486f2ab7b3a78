// A gateway that comes with its first connection.
import test from 'ava'
import { silentLogger } from '../../src/log.ts'
import { LateGateway } from '../../src/net/late-gateway.ts'
import type { Gateway, GatewaySocket } from '../../src/port/gateway.ts'
import { LogLines } from '../support/log-lines.ts'
import { StillSocket } from '../support/peers/still-socket.ts'

class Served implements Gateway {
  readonly protocol = 'amqp'
  readonly accepted: GatewaySocket[] = []
  readonly news: string[] = []
  closedWithin: number | undefined

  get connections(): number {
    return this.accepted.length
  }

  accept(socket: GatewaySocket): void {
    this.accepted.push(socket)
  }

  async close(deadlineMs: number): Promise<void> {
    this.closedWithin = deadlineMs
  }
}

function late() {
  const gateway = new Served()
  let opened = 0
  let go = (): void => {}
  const open = async (): Promise<Served> => {
    opened++
    await new Promise<void>((resolve) => {
      go = resolve
    })
    return gateway
  }
  const door = new LateGateway('amqp', open, silentLogger)
  const come = async (): Promise<void> => {
    go()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { gateway, door, come, opened: () => opened }
}

test('it is opened once, by the first connection, and has those that waited in their order', async (t) => {
  const { gateway, door, come, opened } = late()
  t.is(opened(), 0)
  const sockets = [new StillSocket(), new StillSocket(), new StillSocket()]
  for (const socket of sockets) door.accept(socket)
  t.is(door.connections, 3)
  sockets[1]!.destroy()
  await come()
  const behind = new StillSocket()
  door.accept(behind)
  t.deepEqual(gateway.accepted, [sockets[0]!, sockets[2]!, behind])
  t.is(opened(), 1)
})

test('what it is told before it is there it hears before its first connection', async (t) => {
  const { gateway, door, come } = late()
  door.tell(({ news, accepted }) => news.push(`before ${accepted.length}`))
  door.accept(new StillSocket())
  await come()
  door.tell(({ news, accepted }) => news.push(`after ${accepted.length}`))
  t.deepEqual(gateway.news, ['before 0', 'after 1'])
})

test('a close opens nothing, and waits for what is being opened', async (t) => {
  const unused = late()
  await unused.door.close(100)
  const refused = new StillSocket()
  unused.door.accept(refused)
  t.true(refused.isClosed)
  t.is(unused.opened(), 0)

  const { gateway, door, come } = late()
  door.accept(new StillSocket())
  const closing = door.close(100)
  await come()
  await closing
  t.is(gateway.connections, 1)
  t.is(gateway.closedWithin, 100)
})

test('one that cannot be opened costs the connections that waited, and the next one tries again', async (t) => {
  const gateway = new Served()
  const log = new LogLines()
  let tries = 0
  const open = async (): Promise<Served> => {
    if (++tries === 1) throw new Error('too many open files')
    return gateway
  }
  const door = new LateGateway('amqp', open, log)
  const first = new StillSocket()
  door.accept(first)
  await new Promise((resolve) => setImmediate(resolve))
  t.true(first.isClosed)
  t.deepEqual(log.events(), ['listener.unopened'])
  const second = new StillSocket()
  door.accept(second)
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(gateway.accepted, [second])
})
