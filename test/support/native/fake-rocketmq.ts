// A name server and broker in one socket, small enough to misbehave on demand: it keeps messages in
// arrays and answers what a client asks; a test may put itself before any request code.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'
import { writeRecord } from '../../../src/model/record.ts'
import { decodeBatchBody } from '../../../src/remoting/batch-body.ts'
import { REQUEST, RESPONSE } from '../../../src/remoting/codes.ts'
import {
  type Command,
  decodeCommand,
  encodeCommand,
  requestHeader,
  responseHeader,
} from '../../../src/remoting/command.ts'
import { FrameSplitter } from '../../../src/remoting/frame.ts'
import { decodeHeartbeat, encodeConsumerIds } from '../../../src/remoting/requests/clients.ts'
import { PULL_FLAG } from '../../../src/remoting/requests/pull.ts'
import {
  decodeLockRequest,
  encodeLockedQueues,
} from '../../../src/remoting/requests/queue-locks.ts'
import { encodeQueuePositions } from '../../../src/remoting/requests/reset.ts'
import { encodeClusterInfo, encodeRoute } from '../../../src/remoting/requests/route.ts'

export interface Answer {
  readonly code?: number
  readonly fields?: Readonly<Record<string, string | number>>
  readonly body?: Uint8Array
  readonly remark?: string
}

/**
 * undefined: as usual. 'silence': no answer. 'cut': the connection ends, in the middle of an
 * answer.
 */
export type Interception = Answer | undefined | 'silence' | 'cut'
type Interceptor = (command: Command, socket: Socket) => Interception | Promise<Interception>

interface Stored {
  readonly body: Buffer
  readonly properties: Buffer
  readonly reconsumeTimes: number
}

export interface FakeOptions {
  readonly queues?: number
  readonly topics?: readonly string[]
}

export async function startFakeRocketmq(
  t: ExecutionContext,
  options: FakeOptions = {},
): Promise<FakeRocketmq> {
  const fake = new FakeRocketmq(options)
  await fake.listen()
  t.teardown(() => fake.stop())
  return fake
}

export class FakeRocketmq {
  /** Every request that came, in order. */
  readonly requests: Command[] = []
  readonly committed = new Map<string, number>()
  readonly sentBack: Command[] = []
  #queues: number
  #brokerAddress: string | undefined
  readonly #topics: Set<string>
  readonly #interceptors = new Map<number, Interceptor>()
  readonly #stored = new Map<string, Stored[]>()
  readonly #sockets = new Set<Socket>()
  /** Client id by connection, per group. */
  readonly #members = new Map<string, Map<Socket, string>>()
  readonly #polls = new Set<() => void>()
  #server: Server | undefined
  #port = 0
  #pushes = 0

  constructor({ queues = 1, topics = ['T'] }: FakeOptions) {
    this.#queues = queues
    this.#topics = new Set(topics)
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`
  }

  get connections(): number {
    return this.#sockets.size
  }

  /** On the same port again after `stop`. */
  async listen(): Promise<void> {
    const server = createServer((socket) => this.#accept(socket))
    this.#server = server
    server.listen(this.#port, '127.0.0.1')
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = once(server, 'close')
    server.close()
    this.cutAll()
    await closed
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  addTopic(topic: string): void {
    this.#topics.add(topic)
  }

  setQueues(queues: number): void {
    this.#queues = queues
  }

  /** Routes name this address from now on. */
  setBroker(address: string): void {
    this.#brokerAddress = address
  }

  /** Goes before the usual answer to a request code. */
  intercept(code: number, interceptor: Interceptor): void {
    this.#interceptors.set(code, interceptor)
  }

  count(code: number): number {
    return this.requests.filter((request) => request.code === code).length
  }

  /** Bodies stored in a queue. */
  bodies(topic: string, queueId = 0): string[] {
    return (this.#stored.get(`${topic}:${queueId}`) ?? []).map(({ body }) => body.toString())
  }

  store(topic: string, queueId: number, body: string, properties = '', reconsumeTimes = 0): void {
    const queue = this.#queue(topic, queueId)
    queue.push({ body: Buffer.from(body), properties: Buffer.from(properties), reconsumeTimes })
    for (const poll of [...this.#polls]) poll()
  }

  /** A consumer that is no socket of ours, as the others of the group see it. */
  addMember(group: string, clientId: string): () => void {
    const stranger = {} as Socket
    this.#membersOf(group).set(stranger, clientId)
    return () => this.#membersOf(group).delete(stranger)
  }

  /** NOTIFY_CONSUMER_IDS_CHANGED to every member. */
  notifyMembers(group: string): void {
    this.#push(group, REQUEST.notifyConsumersChanged, { consumerGroup: group })
  }

  /** The group is moved, and its members are told by RESET_CONSUMER_CLIENT_OFFSET. */
  reset(group: string, topic: string, queueId: number, offset: number): void {
    this.committed.set(`${group}:${topic}:${queueId}`, offset)
    const queue = { brokerName: 'broker-a', topic, queueId }
    const body = encodeQueuePositions([{ queue, offset }])
    this.#push(group, REQUEST.resetConsumerOffset, { group, topic, timestamp: '-1' }, body)
  }

  #push(group: string, code: number, fields: Record<string, string>, body?: Buffer): void {
    for (const socket of this.#membersOf(group).keys()) {
      if (!this.#sockets.has(socket)) continue
      const head = { code, opaque: ++this.#pushes, fields: new Map(Object.entries(fields)) }
      socket.write(encodeCommand(requestHeader({ ...head, oneWay: true }), body))
    }
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket)
    const splitter = new FrameSplitter((bytes, headerAt, bodyAt, end, codec) => {
      const command = decodeCommand(bytes, headerAt, bodyAt, end, codec)
      void this.#serve({ ...command, body: Buffer.from(command.body) }, socket)
    })
    socket.on('data', (chunk) => splitter.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#sockets.delete(socket)
      for (const members of this.#members.values()) members.delete(socket)
    })
  }

  async #serve(command: Command, socket: Socket): Promise<void> {
    this.requests.push(command)
    const intercepted = await this.#interceptors.get(command.code)?.(command, socket)
    if (intercepted === 'silence') return
    const answer =
      intercepted === 'cut' ? {} : (intercepted ?? (await this.#answer(command, socket)))
    const { code = RESPONSE.success, fields = {}, body, remark } = answer
    const texts = new Map(Object.entries(fields).map(([name, value]) => [name, String(value)]))
    const frame = encodeCommand(responseHeader(command.opaque, code, texts, remark), body)
    if (intercepted === 'cut') {
      socket.write(frame.subarray(0, frame.length - 3), () => socket.destroy())
    } else {
      socket.write(frame)
    }
  }

  #answer(command: Command, socket: Socket): Answer | Promise<Answer> {
    const { fields } = command
    switch (command.code) {
      case REQUEST.getRoute:
        return this.#route(fields.get('topic')!)
      case REQUEST.getClusterInfo:
        return { body: encodeClusterInfo({ brokers: [this.#broker()] }) }
      case REQUEST.sendMessageV2:
      case REQUEST.sendBatchMessage:
        return this.#send(command)
      case REQUEST.pullMessage:
        return this.#pull(command)
      case REQUEST.queryConsumerOffset: {
        const offset = this.committed.get(this.#cursor(command))
        return offset === undefined ? { code: RESPONSE.queryNotFound } : { fields: { offset } }
      }
      case REQUEST.updateConsumerOffset:
        this.committed.set(this.#cursor(command), Number(fields.get('commitOffset')))
        return {}
      case REQUEST.getMaxOffset:
        return { fields: { offset: this.#queueOf(command).length } }
      case REQUEST.getMinOffset:
        return { fields: { offset: 0 } }
      case REQUEST.heartbeat: {
        const beat = decodeHeartbeat(command.body)
        for (const { groupName } of beat.consumers) {
          this.#topics.add(`%RETRY%${groupName}`)
          this.#membersOf(groupName).set(socket, beat.clientId)
        }
        return {}
      }
      case REQUEST.unregisterClient:
        this.#membersOf(fields.get('consumerGroup') ?? '').delete(socket)
        return {}
      case REQUEST.getConsumerList: {
        const members = this.#membersOf(fields.get('consumerGroup')!)
        return { body: encodeConsumerIds([...members.values()]) }
      }
      case REQUEST.sendMessageBack:
        this.sentBack.push(command)
        return {}
      case REQUEST.lockQueues:
        return { body: encodeLockedQueues(decodeLockRequest(command.body).queues) }
      default:
        return {}
    }
  }

  #broker() {
    const addresses = new Map([[0, this.#brokerAddress ?? this.address]])
    return { cluster: 'DefaultCluster', brokerName: 'broker-a', addresses }
  }

  #route(topic: string): Answer {
    if (!this.#topics.has(topic)) return { code: RESPONSE.topicNotExist, remark: 'no such topic' }
    const queues = topic.startsWith('%RETRY%') ? 1 : this.#queues
    return {
      body: encodeRoute({
        brokers: [this.#broker()],
        queues: [
          {
            brokerName: 'broker-a',
            readQueues: queues,
            writeQueues: queues,
            perm: 6,
            topicSysFlag: 0,
          },
        ],
        orderTopicConf: undefined,
      }),
    }
  }

  #send({ code, fields, body }: Command): Answer {
    const topic = fields.get('b')!
    const queueId = Number(fields.get('e'))
    const queueOffset = this.#queue(topic, queueId).length
    const items =
      code === REQUEST.sendBatchMessage
        ? decodeBatchBody(body)
        : [{ body, properties: Buffer.from(fields.get('i') ?? '') }]
    const ids: string[] = []
    for (const item of items) {
      ids.push(`7F00000100002A9F${(queueOffset + ids.length).toString(16).padStart(16, '0')}`)
      this.store(
        topic,
        queueId,
        Buffer.from(item.body).toString(),
        Buffer.from(item.properties).toString(),
      )
    }
    return { fields: { msgId: ids.join(','), queueId, queueOffset } }
  }

  #pull(command: Command): Answer | Promise<Answer> {
    const from = Number(command.fields.get('queueOffset'))
    if ((Number(command.fields.get('sysFlag')) & PULL_FLAG.commitOffset) !== 0) {
      this.committed.set(this.#cursor(command), Number(command.fields.get('commitOffset')))
    }
    const queue = this.#queueOf(command)
    if (from < queue.length) return this.#found(command)
    return new Promise((resolve) => {
      const poll = (): void => {
        if (from >= queue.length) return
        this.#polls.delete(poll)
        resolve(this.#found(command))
      }
      this.#polls.add(poll)
    })
  }

  #found({ fields }: Command): Answer {
    const topic = fields.get('topic')!
    const queueId = Number(fields.get('queueId'))
    const from = Number(fields.get('queueOffset'))
    const queue = this.#queue(topic, queueId)
    const some = queue.slice(from, from + Number(fields.get('maxMsgNums')))
    const records = some.map((stored, i) => recordOf(topic, queueId, from + i, stored))
    const nextBeginOffset = from + some.length
    const ends = { suggestWhichBrokerId: 0, minOffset: 0, maxOffset: queue.length }
    return { fields: { ...ends, nextBeginOffset }, body: Buffer.concat(records) }
  }

  #queueOf({ fields }: Command): Stored[] {
    return this.#queue(fields.get('topic')!, Number(fields.get('queueId')))
  }

  #queue(topic: string, queueId: number): Stored[] {
    const key = `${topic}:${queueId}`
    const queue = this.#stored.get(key) ?? []
    this.#stored.set(key, queue)
    return queue
  }

  #cursor({ fields }: Command): string {
    return `${fields.get('consumerGroup')}:${fields.get('topic')}:${fields.get('queueId')}`
  }

  #membersOf(group: string): Map<Socket, string> {
    const members = this.#members.get(group) ?? new Map<Socket, string>()
    this.#members.set(group, members)
    return members
  }
}

function recordOf(topic: string, queueId: number, queueOffset: number, stored: Stored): Buffer {
  const target = Buffer.alloc(1024 + stored.body.length + stored.properties.length)
  const size = writeRecord(
    target,
    0,
    {
      topic,
      queueId,
      flag: 0,
      sysFlag: 0,
      bornTimestamp: 1_700_000_000_000,
      bornHost: { ip: 0x7f000001, port: 50_000 },
      reconsumeTimes: stored.reconsumeTimes,
      preparedPosition: 0,
      body: stored.body,
      properties: stored.properties,
    },
    {
      queueOffset,
      position: queueOffset * 1000,
      storeTimestamp: 1_700_000_000_001,
      storeHost: { ip: 0x7f000001, port: 10_911 },
    },
  )
  return target.subarray(0, size)
}
