// What a reader selects of a topic: by tags, or by a SQL92 condition over properties.
import { BrokerError } from '../errors.ts'
import { ownProperty } from './own-properties.ts'
import { PROPERTY, VALUE_END, valueStart } from './properties.ts'
import type { RecordView } from './record.ts'
import { originalTopic } from './routing-name.ts'
import type { PropertyLookup, PropertyName } from './sql92/expression.ts'
import { parseSqlFilter, type SqlFilter } from './sql92/sql-filter.ts'
import { FEW_DIGITS } from './sql92/value.ts'
import { parseTagFilter, type TagFilter, tagMatches, wantSameTags } from './tag-filter.ts'

export { parseSelector } from './sql92/sql-filter.ts'

export type MessageFilter = TagFilter | SqlFilter

/** RocketMQ's names of the kinds of expression. */
export const EXPRESSION_TYPE = { tags: 'TAG', sql: 'SQL92' } as const

/** @throws BrokerError FILTER_INVALID, NOT_SUPPORTED for a type that is not RocketMQ's */
export function parseMessageFilter(expression: string | undefined, type = ''): MessageFilter {
  if (type === '' || type === EXPRESSION_TYPE.tags) return parseTagFilter(expression)
  if (type === EXPRESSION_TYPE.sql) return parseSqlFilter(expression ?? '')
  throw new BrokerError(
    'NOT_SUPPORTED',
    `The broker does not support consumer to filter message by ${type}; use TAG or SQL92`,
  )
}

/** Does it select every message? */
export const selectsAll = (filter: MessageFilter): boolean =>
  filter.kind === 'tags' && filter.tags === undefined

/**
 * The exact check; the hashes of tags collide, and conditions have none. `clusterName`: of the
 * broker whose log has the record; of a record as a broker shows it undefined.
 */
export const selects = (
  filter: MessageFilter,
  record: RecordView,
  clusterName?: string,
): boolean =>
  filter.kind === 'tags'
    ? filter.tags === undefined || tagMatches(filter, record.property(PROPERTY.tags))
    : filter.matches(propertiesOf(record, filter, clusterName))

/** Names in one record, each of which is scanned for; of more all are decoded once. */
const SCANS_MAX = 8

/**
 * The properties of a record as a condition looks at them: each name is searched for once, however
 * often the condition has it, and few digits become a number without a text.
 */
class RecordProperties implements PropertyLookup {
  #record: RecordView | undefined
  #isJms = false
  #clusterName: string | undefined
  #decoded: ReadonlyMap<string, string> | undefined
  /** Of the record: what was found of a name is of this one where the serial beside it is. */
  #serial = 0
  readonly #texts: (string | undefined)[] = []
  readonly #textsOf: number[] = []
  readonly #digits: number[] = []
  readonly #digitsOf: number[] = []

  begin(record: RecordView, { dialect, names }: SqlFilter, clusterName: string | undefined): void {
    this.#record = record
    this.#clusterName = clusterName
    this.#isJms = dialect === 'jms'
    this.#decoded = names > SCANS_MAX ? record.firstProperties() : undefined
    this.#serial++
  }

  text({ text: name, index }: PropertyName): string | undefined {
    if (this.#textsOf[index] !== this.#serial) {
      const record = this.#record!
      this.#texts[index] = this.#isJms ? jmsProperty(record, this.#find, name) : this.#find(name)
      this.#textsOf[index] = this.#serial
    }
    return this.#texts[index]
  }

  digits({ text: name, index }: PropertyName): number {
    if (this.#isJms || this.#decoded !== undefined) return -1
    if (this.#digitsOf[index] !== this.#serial) {
      this.#digits[index] = digitsIn(this.#record!, name)
      this.#digitsOf[index] = this.#serial
    }
    return this.#digits[index]!
  }

  readonly #find = (name: string): string | undefined => {
    const record = this.#record!
    const decoded = this.#decoded
    const value = decoded === undefined ? record.property(name) : decoded.get(name)
    const clusterName = this.#clusterName
    if (value !== undefined || clusterName === undefined) return value
    return ownProperty(record, name, clusterName)
  }
}

/** As `fewDigits` of the value; -1 where there is none. */
function digitsIn({ bytes, propertiesStart, propertiesEnd }: RecordView, name: string): number {
  const start = valueStart(bytes, name, propertiesStart, propertiesEnd)
  if (start === -1) return -1
  let value = 0
  let at = start
  for (; at < propertiesEnd && bytes[at] !== VALUE_END; at++) {
    const digit = bytes[at]! - 48
    if (digit < 0 || digit > 9 || at - start === FEW_DIGITS) return -1
    value = value * 10 + digit
  }
  return value
}

/** One for all, as a condition is evaluated at once and calls no other. */
const properties = new RecordProperties()

/** For one evaluation of the condition. */
function propertiesOf(
  record: RecordView,
  filter: SqlFilter,
  clusterName: string | undefined,
): PropertyLookup {
  properties.begin(record, filter, clusterName)
  return properties
}

export function wantTheSame(a: MessageFilter, b: MessageFilter): boolean {
  if (a.kind === 'tags' && b.kind === 'tags') return wantSameTags(a, b)
  if (a.kind === 'tags' || b.kind === 'tags') return false
  return a.dialect === b.dialect && a.expression === b.expression
}

/** Messages that can be checked in the time of `records` checks by tags. */
export const recordsInTimeOf = (records: number, filter: MessageFilter): number =>
  filter.kind === 'tags' ? records : Math.ceil(records / (4 + filter.operations / 8))

// ---- names in a JMS selector; every other one is that of an application property

/** The value of a property of a record. */
type PropertyValue = (name: string) => string | undefined

type Find = (property: PropertyValue, record: RecordView) => string | undefined

const ofProperty =
  (name: string): Find =>
  (property) =>
    property(name)

const HEADERS: ReadonlyMap<string, Find> = new Map<string, Find>([
  ['JMSMessageID', (property) => jmsId(property(PROPERTY.uniqueKey))],
  ['JMSCorrelationID', ofProperty(PROPERTY.correlationId)],
  ['JMSType', ofProperty(PROPERTY.tags)],
  ['JMSTimestamp', (_, record) => String(record.bornTimestamp)],
  ['JMSPriority', (property) => String(headerOf(property).priority)],
  ['JMSDeliveryMode', (property) => (headerOf(property).durable ? 'PERSISTENT' : 'NON_PERSISTENT')],
  ['JMSXGroupID', ofProperty(PROPERTY.orderingKey)],
  ['amqp.message_id', ofProperty(PROPERTY.uniqueKey)],
  ['amqp.correlation_id', ofProperty(PROPERTY.correlationId)],
  ['amqp.subject', ofProperty(PROPERTY.tags)],
  ['amqp.to', (_, record) => originalTopic(record)],
  ['amqp.reply_to', (property) => property(PROPERTY.replyTo)?.replace(/^topic:/, '')],
  ['amqp.content_type', ofProperty(PROPERTY.contentType)],
  ['amqp.group_id', ofProperty(PROPERTY.orderingKey)],
  ['amqp.creation_time', (_, record) => String(record.bornTimestamp)],
  ['amqp.priority', (property) => String(headerOf(property).priority)],
  ['amqp.durable', (property) => String(headerOf(property).durable)],
])

/** The value of a record by a name in a selector. */
function jmsProperty(
  record: RecordView,
  property: PropertyValue,
  name: string,
): string | undefined {
  const header = HEADERS.get(name)
  return header === undefined ? property(name) : header(property, record)
}

/** As JMS clients over AMQP show an id that no such client made. */
const jmsId = (id: string | undefined): string | undefined =>
  id === undefined || id.startsWith('ID:') ? id : `ID:AMQP_NO_PREFIX:${id}`

/** Base64 of `a1 form, 01 length, list`: the two fields fit into so many whole groups. */
const HEAD_CHARS = 36
const MARK = 0xa1
const HEADER_ITEM = 1
const LIST_AT = 5
const PRIORITY_DEFAULT = 4

interface Header {
  readonly durable: boolean
  readonly priority: number
}

/**
 * AMQP's header (3.2.1) in the wire form that the AMQP front-end keeps; durable for a message of
 * another protocol. A client may write that property too, so nothing in it is believed.
 */
function headerOf(property: PropertyValue): Header {
  const wire = property(PROPERTY.native)
  const bytes = wire === undefined ? undefined : Buffer.from(wire.slice(0, HEAD_CHARS), 'base64')
  if (bytes?.[0] !== MARK) return { durable: true, priority: PRIORITY_DEFAULT }
  const none = { durable: false, priority: PRIORITY_DEFAULT }
  if (bytes[2] !== HEADER_ITEM) return none
  const code = bytes[LIST_AT]
  if (code !== 0xc0 && code !== 0xd0) return none
  let at = LIST_AT + (code === 0xc0 ? 3 : 9)
  const count = bytes[at - 1] ?? 0
  if (count < 1) return none
  const durable = bytes[at] === 0x41 || (bytes[at] === 0x56 && bytes[at + 1] === 1)
  at += bytes[at] === 0x56 ? 2 : 1
  const isGiven = count > 1 && bytes[at] === 0x50
  return { durable, priority: isGiven ? (bytes[at + 1] ?? PRIORITY_DEFAULT) : PRIORITY_DEFAULT }
}
