// Transactions by MQTT 5, as requests: a client prepares a message, is answered on its response
// topic with the name of the transaction, and commits it or rolls it back by that name.
//
//   $trivet/tx/GROUP/prepare/TOPIC   the message for TOPIC; response topic, correlation data
//   $trivet/tx/GROUP/commit          payload: the name
//   $trivet/tx/GROUP/rollback        payload: the name
//
// A PUBACK says what came of each. What stays open is asked about on the response topic.

import type { Principal } from '../../../access/auth.ts'
import { BrokerError } from '../../../errors.ts'
import type { Host } from '../../../model/host.ts'
import { checkGroupName } from '../../../model/names.ts'
import { logPosition, queueOffset } from '../../../model/positions.ts'
import { encodeProperties, PROPERTY } from '../../../model/properties.ts'
import { RecordView } from '../../../model/record.ts'
import type { HalfName, TransactionCheck } from '../../../model/transaction.ts'
import type { MessageAddress } from '../address.ts'
import type { Properties } from '../packets/properties.ts'
import { checkName } from '../packets/topic-name.ts'
import type { PublishParts } from './parts.ts'
import type { RequestPublish } from './request-publish.ts'

const PREFIX = '$trivet/tx/'
const NAME = /^([^ ]{1,255}) (\d{1,16}) (\d{1,16})$/
/** Groups whose checks one connection answers. */
const GROUPS_MAX = 16
/** Longest response topic and correlation data: they are kept with the message. */
const REPLY_BYTES_MAX = 1024

export const isTransaction = (name: string): boolean => name.startsWith(PREFIX)

export class TransactionRequests {
  readonly #parts: PublishParts
  readonly #principal: Principal
  readonly #bornHost: Host
  /** The connection is to be known as a producer of these groups. */
  readonly groups = new Set<string>()

  constructor(parts: PublishParts, principal: Principal, bornHost: Host) {
    this.#parts = parts
    this.#principal = principal
    this.#bornHost = bornHost
  }

  /** Settles when it is durable. Answers whether `groups` has changed. @throws BrokerError */
  async serve(publish: RequestPublish): Promise<boolean> {
    const [, , group = '', verb, ...levels] = publish.name.split('/')
    if (publish.qos !== 1) throw invalid('a request about a transaction is published with QoS 1')
    checkGroupName(group)
    const isNew = !this.groups.has(group)
    if (isNew && this.groups.size >= GROUPS_MAX) {
      const text = `a connection answers for ${GROUPS_MAX} producer groups at most`
      throw new BrokerError('QUOTA_EXCEEDED', text)
    }
    if (verb === 'prepare') await this.#prepare(group, levels.join('/'), publish)
    else if ((verb === 'commit' || verb === 'rollback') && levels.length === 0) {
      await this.#end(group, verb, publish.payload.toString())
    } else throw invalid("after the group comes 'prepare/TOPIC', 'commit' or 'rollback'")
    this.groups.add(group)
    return isNew
  }

  async #prepare(group: string, name: string, publish: RequestPublish): Promise<void> {
    const { properties, payload } = publish
    const { responseTopic, correlationData: inChunk, ...rest } = properties
    // The answer is written later, when another chunk stands in its place.
    const correlationData = Buffer.from(inChunk ?? '')
    if (responseTopic === undefined) throw invalid('a half message needs a response topic')
    if (responseTopic.length + correlationData.length > REPLY_BYTES_MAX) {
      throw invalid(`response topic and correlation data have ${REPLY_BYTES_MAX} bytes at most`)
    }
    this.#route(responseTopic)
    const route = this.#route(name)
    const { publisher, context } = this.#parts
    const message = publisher.message(route, payload, this.#facts(rest), this.#bornHost)
    const half = encodeProperties([
      [PROPERTY.transactionPrepared, 'true'],
      [PROPERTY.producerGroup, group],
      [PROPERTY.transactionReplyTo, responseTopic],
      [PROPERTY.transactionCorrelation, correlationData.toString('base64')],
    ])
    const prepared = { ...message, properties: Buffer.concat([message.properties, half]) }
    const [result] = await context.broker.publish([prepared])
    if (result === undefined || result instanceof BrokerError) throw result
    await reply(this.#parts, responseTopic, correlationData, nameOf(result), [])
  }

  async #end(group: string, outcome: 'commit' | 'rollback', name: string): Promise<void> {
    const { broker, auth } = this.#parts.context
    const [, brokerName, position, offset] = NAME.exec(name) ?? []
    if (brokerName === undefined) throw invalid('the payload is no name of a transaction')
    const half: HalfName = {
      brokerName,
      position: logPosition(Number(position)),
      queueOffset: queueOffset(Number(offset)),
    }
    const topic = await broker.transactions.topic(half)
    if (topic !== undefined)
      auth.authorize(this.#principal, 'publish', { kind: 'topic', name: topic })
    await broker.transactions.end({ half, group, outcome })
  }

  /** @throws BrokerError where the client may not publish */
  #route(name: string): MessageAddress {
    const { addresses, context, options } = this.#parts
    if (name === '' || name.startsWith('$trivet/')) throw invalid('the topic is missing')
    checkName(name, options)
    const route = addresses.route(name)
    context.auth.authorize(this.#principal, 'publish', { kind: 'topic', name: route.topic })
    return route
  }

  #facts(properties: Properties) {
    return factsOf(this.#parts, properties)
  }
}

const nameOf = ({ brokerName, position, queueOffset }: HalfName): string =>
  `${brokerName} ${position} ${queueOffset}`

const factsOf = (parts: PublishParts, properties: Properties) => ({
  ...({ qos: 1, retain: false, publisher: undefined, uniqueKey: undefined, properties } as const),
  nowMs: parts.context.clock.now(),
})

/** To a response topic, which the client that gave it may publish to. */
async function reply(
  parts: PublishParts,
  topic: string,
  correlationData: Buffer,
  name: string,
  user: [string, string][],
): Promise<void> {
  const { publisher, addresses, context } = parts
  const properties: Properties = {
    ...(correlationData.length > 0 && { correlationData }),
    ...(user.length > 0 && { user }),
  }
  const facts = factsOf(parts, properties)
  const host = context.broker.identity.storeHost
  const message = publisher.message(addresses.route(topic), Buffer.from(name), facts, host)
  const [result] = await context.broker.publish([message])
  if (result instanceof BrokerError) throw result
}

/** Asks on the response topic of the half message; one that was prepared otherwise has none. */
export function askByResponseTopic(parts: PublishParts, check: TransactionCheck): void {
  const record = new RecordView(check.record)
  const topic = record.property(PROPERTY.transactionReplyTo)
  if (topic === undefined) return
  const correlation = record.property(PROPERTY.transactionCorrelation) ?? ''
  const times = record.property(PROPERTY.transactionCheckTimes) ?? ''
  reply(parts, topic, Buffer.from(correlation, 'base64'), nameOf(check.half), [
    ['check', times],
  ]).catch((error: unknown) => {
    const fields = { evt: 'mqtt.check_failed', err: error }
    parts.context.log.warn(fields, 'the question about a transaction could not be published')
  })
}

const invalid = (text: string): BrokerError => new BrokerError('ARGUMENT_INVALID', text)
