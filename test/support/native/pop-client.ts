// The requests of a POP client over one connection, with the fields that Java writes; handles are
// made from a POP's answer as Java makes them.
import type { Command } from '../../../src/remoting/command.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import { encodeBatchAck, parseHandle, parseOffsets } from '../../../src/remoting/requests/pop.ts'
import { fields } from './native-front-end.ts'
import { decodeMessages, type WireMessage } from './wire-message.ts'

type Values = Readonly<Record<string, string | number | boolean>>

export interface PoppedByWire {
  readonly message: WireMessage
  readonly handle: string
}

export class PopClient {
  readonly #connection: RemotingConnection
  readonly #common: Values

  constructor(connection: RemotingConnection, topic: string, group: string) {
    this.#connection = connection
    this.#common = { topic, consumerGroup: group }
  }

  pop(values: Values = {}): Promise<Command> {
    return this.#ask(200_050, {
      queueId: -1,
      maxMsgNums: 32,
      invisibleTime: 10_000,
      pollTime: 0,
      bornTime: 0,
      initMode: 0,
      ...values,
    })
  }

  /** Answers with the messages and their handles; none unless the code is 0. */
  async take(values: Values = {}): Promise<PoppedByWire[]> {
    return popped(await this.pop(values))
  }

  ack(handle: string, values: Values = {}): Promise<Command> {
    return this.#ask(200_051, { ...this.#named(handle), ...values })
  }

  change(handle: string, invisibleTime: number, values: Values = {}): Promise<Command> {
    return this.#ask(200_053, { ...this.#named(handle), invisibleTime, ...values })
  }

  /** All of them in one request. */
  batchAck(handles: readonly string[]): Promise<Command> {
    const acks = handles.map((text) => {
      const handle = parseHandle(text)!
      const { topic, consumerGroup } = this.#common as Record<string, string>
      return { ...handle, group: consumerGroup!, topic: topic!, offsets: [handle.offset] }
    })
    return this.#connection.request(200_151, { body: encodeBatchAck('broker-a', acks) })
  }

  notify(values: Values = {}): Promise<Command> {
    return this.#ask(200_054, { queueId: -1, pollTime: 0, bornTime: 0, ...values })
  }

  polling(queueId: number): Promise<Command> {
    return this.#ask(200_055, { queueId })
  }

  /** Its retry topic is named as RocketMQ's ExtraInfoUtil does. */
  #named(handle: string): Values {
    const { retryKind = '0', queueId = 0, offset = 0 } = parseHandle(handle) ?? {}
    const { topic, consumerGroup } = this.#common
    const real = retryKind === '0' ? topic! : `%RETRY%${consumerGroup}_${topic}`
    return { topic: real, queueId, offset, extraInfo: handle }
  }

  #ask(code: number, values: Values): Promise<Command> {
    const all = fields({ ...this.#common, ...values })
    return this.#connection.request(code, { fields: all, timeoutMs: 60_000 })
  }
}

/** The messages of a POP's answer. */
export function popped(answer: Command): PoppedByWire[] {
  if (answer.code !== 0) return []
  const word = (name: string): string => answer.fields.get(name)!
  const starts = new Map(
    parseOffsets(word('startOffsetInfo')).map((queue) => [queue.queueId, queue.offsets[0]]),
  )
  return decodeMessages(answer.body).map((message) => {
    const own = [word('popTime'), word('invisibleTime'), word('reviveQid'), '0', 'broker-a']
    const place = [message.queueId, message.queueOffset]
    const made = [starts.get(message.queueId), ...own, ...place].join(' ')
    return { message, handle: message.properties.get('POP_CK') ?? made }
  })
}
