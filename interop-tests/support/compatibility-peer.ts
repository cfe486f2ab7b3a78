// One broker, Apache's or ours, as the probes of the compatibility page ask it: by single requests.
import { systemClock } from '../../src/clock.ts'
import type { Command } from '../../src/remoting/command.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import { CODEC_BINARY } from '../../src/remoting/frame.ts'
import { jsonBody } from '../../src/remoting/json/json-emitter.ts'
import { fields, pull, send } from '../../test/support/native/native-front-end.ts'

type FieldValues = Readonly<Record<string, string | number | boolean>>

export class Peer {
  readonly broker: RemotingConnection
  readonly names: RemotingConnection
  readonly #address: { readonly host: string; readonly port: number }
  #made = 0

  private constructor(
    broker: RemotingConnection,
    names: RemotingConnection,
    address: { readonly host: string; readonly port: number },
  ) {
    this.broker = broker
    this.names = names
    this.#address = address
  }

  static async connect(broker: string, nameServer: string): Promise<Peer> {
    const of = (text: string): { host: string; port: number } => {
      const [host = '', port] = text.split(':')
      return { host, port: Number(port) }
    }
    const open = (text: string): Promise<RemotingConnection> =>
      dial({ ...of(text), clock: systemClock })
    return new Peer(await open(broker), await open(nameServer), of(broker))
  }

  [Symbol.dispose](): void {
    this.broker.close()
    this.names.close()
  }

  ask(code: number, values: FieldValues = {}, body?: object): Promise<Command> {
    return this.broker.request(code, {
      fields: fields(values),
      ...(body !== undefined && { body: jsonBody(body as never) }),
    })
  }

  /** Another connection, with binary headers. */
  binary(): Promise<RemotingConnection> {
    return dial({ ...this.#address, clock: systemClock, codec: CODEC_BINARY })
  }

  putTopic(topic: string, changed: FieldValues = {}): Promise<Command> {
    const queues = { readQueueNums: 1, writeQueueNums: 1, perm: 6 }
    const rest = { topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: false }
    return this.ask(17, { topic, defaultTopic: 'TBW102', ...queues, ...rest, ...changed })
  }

  putGroup(groupName: string, changed: object = {}): Promise<Command> {
    return this.ask(200, {}, { groupName, ...changed })
  }

  name(prefix: string): string {
    return `${prefix}_${++this.#made}`
  }

  /** A new topic of one queue. */
  async topic(changed: FieldValues = {}): Promise<string> {
    const topic = this.name('Compat')
    const { code, remark } = await this.putTopic(topic, changed)
    if (code !== 0) throw new Error(`the topic was not made: ${code} ${remark}`)
    return topic
  }

  async group(): Promise<string> {
    const group = this.name('G_compat')
    await this.putGroup(group)
    return group
  }

  /** So many messages; settles when they can be pulled. */
  async sent(topic: string, count: number, shape: object = {}): Promise<void> {
    for (let i = 0; i < count; i++) {
      const { code, remark } = await send(this.broker, { topic, ...shape })
      if (code !== 0) throw new Error(`a send was refused: ${code} ${remark}`)
    }
    await this.until(async () => (await this.end(topic)) >= count)
  }

  /** Apache's queues are behind its log for a moment. */
  async until(isSo: () => Promise<boolean>): Promise<void> {
    const deadline = AbortSignal.timeout(60_000)
    while (!(await isSo())) deadline.throwIfAborted()
  }

  async end(topic: string, queueId = 0): Promise<number> {
    const { fields: answer } = await this.ask(30, { topic, queueId })
    return Number(answer.get('offset') ?? -1)
  }

  pull(topic: string, group: string, shape: object = {}): Promise<Command> {
    return pull(this.broker, { topic, group, subscription: '*', ...shape })
  }
}
