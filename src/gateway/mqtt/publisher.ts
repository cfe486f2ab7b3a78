// Makes broker messages of MQTT ones and publishes them; a retained message is kept once the log has it.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Host } from '../../model/host.ts'
import { NO_HOST } from '../../model/host.ts'
import { ANY_QUEUE, type NewMessage, type PublishResult } from '../../model/message.ts'
import type { Broker } from '../gateway.ts'
import type { Addresses, Route } from './address.ts'
import { isPlain, type PublishFacts, toRecordProperties } from './message.ts'
import type { Retained } from './retained.ts'
import type { Will } from './session.ts'

/** A message of a batch that is to be retained under its MQTT name. */
export interface RetainRequest {
  readonly index: number
  readonly name: string
}

export class Publisher {
  readonly #broker: Broker
  readonly #clock: Clock
  readonly #log: Logger
  readonly #addresses: Addresses
  readonly #retained: Retained

  constructor(parts: {
    broker: Broker
    clock: Clock
    log: Logger
    addresses: Addresses
    retained: Retained
  }) {
    this.#broker = parts.broker
    this.#clock = parts.clock
    this.#log = parts.log
    this.#addresses = parts.addresses
    this.#retained = parts.retained
  }

  /** @throws BrokerError MESSAGE_INVALID */
  message(route: Route, body: Buffer, facts: PublishFacts, bornHost: Host): NewMessage {
    if (isPlain(facts)) {
      return newMessage(route, body, route.properties[facts.qos], route.name, bornHost, facts.nowMs)
    }
    const { encoded, orderingKey } = toRecordProperties(route, facts)
    return newMessage(route, body, encoded, orderingKey, bornHost, facts.nowMs)
  }

  /** One result per message; a retained one counts as done when it is kept too. */
  async publish(
    messages: readonly NewMessage[],
    retains: readonly RetainRequest[],
  ): Promise<readonly PublishResult[]> {
    const results = await this.#broker.publish(messages)
    if (retains.length === 0) return results
    const settled = [...results]
    const keeping: Promise<void>[] = []
    for (const { index, name } of retains) {
      const result = results[index]!
      if (result instanceof BrokerError) continue
      const kept = this.#retained.put(name, messages[index]!, result)
      keeping.push(
        kept.catch((error: unknown) => {
          settled[index] = BrokerError.from(error)
        }),
      )
    }
    await Promise.all(keeping)
    return settled
  }

  /** Never throws: nobody is left to be told. */
  async publishWill(will: Will, clientId: string): Promise<void> {
    try {
      const facts = {
        ...will,
        publisher: undefined,
        uniqueKey: undefined,
        nowMs: this.#clock.now(),
      }
      const route = this.#addresses.route(will.topic)
      const message = this.message(route, will.payload, facts, NO_HOST)
      const retains = will.retain ? [{ index: 0, name: will.topic }] : []
      const [result] = await this.publish([message], retains)
      if (result instanceof BrokerError) throw result
    } catch (error) {
      const fields = { evt: 'mqtt.will_lost', clientId, topic: will.topic, err: error }
      this.#log.warn(fields, 'a will could not be published, or not be retained')
    }
  }
}

const newMessage = (
  route: Route,
  body: Buffer,
  properties: Buffer,
  orderingKey: string,
  bornHost: Host,
  bornTimestamp: number,
): NewMessage => ({
  topic: route.topic,
  queueId: ANY_QUEUE,
  orderingKey,
  body,
  properties,
  flag: 0,
  sysFlag: 0,
  bornTimestamp,
  bornHost,
  reconsumeTimes: 0,
  createTopic: route.isCatchAll,
  createQueues: undefined,
  retryTimesMax: undefined,
  ownProperties: true,
})
