// Makes broker messages of MQTT ones and publishes them, what they retain together with them.

import type { Authenticator } from '../../../access/auth.ts'
import type { Clock } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { Host } from '../../../model/host.ts'
import { NO_HOST } from '../../../model/host.ts'
import { type NewMessage, newMessage, type PublishResult } from '../../../model/message.ts'
import type { StateChange } from '../../../model/state.ts'
import type { Broker } from '../../../port/broker.ts'
import type { Addresses, MessageAddress } from '../address.ts'
import { isPlain, type PublishFacts, toRecordProperties } from '../message.ts'
import type { Session, Will } from '../session/session.ts'
import type { Retained } from './retained.ts'

interface Parts {
  readonly broker: Broker
  readonly auth: Authenticator
  readonly clock: Clock
  readonly log: Logger
  readonly addresses: Addresses
  readonly retained: Retained
}

export class MqttPublisher {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** @throws BrokerError MESSAGE_INVALID */
  message(
    route: MessageAddress,
    body: Uint8Array,
    facts: PublishFacts,
    bornHost: Host,
  ): NewMessage {
    const { qos, nowMs } = facts
    if (isPlain(facts)) {
      return newMessage(route, route.name, body, route.properties[qos], bornHost, nowMs)
    }
    const { encoded, orderingKey } = toRecordProperties(route, facts)
    return newMessage(route, orderingKey, body, encoded, bornHost, nowMs)
  }

  /**
   * One result per message. What the messages retain is in their append, and so is what changes of
   * the session, so that one acknowledgement stands for all of it.
   */
  publish(
    messages: readonly NewMessage[],
    retained: readonly StateChange[],
    session: readonly StateChange[] = [],
  ): Promise<readonly PublishResult[]> {
    const changes = [...session, ...retained]
    if (changes.length === 0) return this.#parts.broker.publish(messages)
    const published = this.#parts.broker.publish(messages, changes)
    if (retained.length > 0) this.#parts.retained.follow(retained, published)
    return published
  }

  /**
   * With `states`, those of the session when it has the will no more. Its owner must be allowed now
   * what was allowed when the will was left. False: the log takes nothing now, and nothing has
   * changed. Never throws: no client is left to be told.
   */
  async publishWill(
    will: Will,
    session: Session,
    states: readonly StateChange[] = [],
  ): Promise<boolean> {
    const changes = states.map((state) => ({ ...state, message: 0 }))
    const error = await this.#tryWill(will, session, changes)
    if (error?.retryable) return false
    if (error === undefined) return true
    const fields = { clientId: session.clientId, topic: will.topic, err: error }
    this.#parts.log.warn({ evt: 'mqtt.will_lost', ...fields }, 'a will could not be published')
    if (states.length === 0) return true
    return this.#parts.broker.publish([], states).then(
      () => true,
      () => false,
    )
  }

  async #tryWill(
    will: Will,
    session: Session,
    states: readonly StateChange[],
  ): Promise<BrokerError | undefined> {
    try {
      const message = this.#willMessage(will, session)
      const change = will.retain ? this.#retainWill(will, message, session.clientId) : undefined
      const retained = change === undefined ? [] : [change]
      const [result] = await this.publish([message], retained, states)
      return result instanceof BrokerError ? result : undefined
    } catch (error) {
      return BrokerError.from(error)
    }
  }

  /** @throws BrokerError PERMISSION_DENIED, MESSAGE_INVALID */
  #willMessage(will: Will, session: Session): NewMessage {
    const route = this.#parts.addresses.route(will.topic)
    this.#authorize(route, session)
    const nowMs = this.#parts.clock.now()
    const facts = { ...will, publisher: undefined, uniqueKey: undefined, nowMs }
    return this.message(route, will.payload, facts, NO_HOST)
  }

  /** @throws PERMISSION_DENIED */
  #authorize(route: MessageAddress, { user }: Session): void {
    const owner = this.#parts.auth.ownerOf(user)
    if (owner === undefined) {
      const whose = user === undefined ? 'the session has no owner' : `there is no user '${user}'`
      throw new BrokerError(
        'PERMISSION_DENIED',
        `${whose}, so no right to publish it can be checked`,
      )
    }
    this.#parts.auth.authorize(owner, 'publish', { kind: 'topic', name: route.topic })
  }

  /** A will comes without asking for room. */
  #retainWill(will: Will, message: NewMessage, clientId: string): StateChange | undefined {
    try {
      this.#parts.retained.check(will.topic, will.payload.length)
      return this.#parts.retained.take(will.topic, message, 0)
    } catch (error) {
      const fields = { evt: 'mqtt.will_not_retained', clientId, topic: will.topic, err: error }
      this.#parts.log.warn(fields, 'a will is published and not retained')
      return undefined
    }
  }
}
