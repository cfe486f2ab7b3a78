// The attributes of RocketMQ 5 in an update of a topic or a group, by `+name` with a value or
// `-name`: how they change those that it has, and what is wrong with them in the words of Apache's
// broker (AttributeParser, AttributeUtil). A broker checks no message by them: tools declare a type
// for each topic that they make and read it back, and POP reads a PRIORITY topic from the top, as
// often as the group's priority.factor says.
import { BrokerError } from '../../errors.ts'

type Attributes = Readonly<Record<string, string>>

interface Attribute {
  /** May it change once the topic is there? */
  readonly isChangeable: boolean
  /** What Apache's broker says against the value; undefined: nothing. */
  readonly verify: (value: string) => string | undefined
  /** Is the value true of any topic or group here? */
  readonly isTrue: (value: string) => boolean
}

const oneOf = (...values: readonly string[]): Attribute['verify'] => {
  const known = new Set(values)
  return (value) => (known.has(value) ? undefined : `value is not in set: [${values.join(', ')}]`)
}

const inRange =
  (min: number, max: number | bigint): Attribute['verify'] =>
  (value) => {
    if (!/^[+-]?\d{1,19}$/.test(value)) return `For input string: "${value.slice(0, 80)}"`
    const isInside = BigInt(value) >= min && BigInt(value) <= max
    return isInside ? undefined : `value is not in range(${min}, ${max})`
  }

const MESSAGE_TYPES = [
  ...['UNSPECIFIED', 'NORMAL', 'FIFO', 'DELAY', 'TRANSACTION', 'PRIORITY', 'LITE', 'MIXED'],
]
const is = (own: string) => (value: string) => value === own
const NEVER = is('-1')

type Table = ReadonlyMap<string, Attribute>

const TOPIC_ATTRIBUTES: Table = new Map([
  ['message.type', { isChangeable: true, verify: oneOf(...MESSAGE_TYPES), isTrue: () => true }],
  [
    'queue.type',
    { isChangeable: false, verify: oneOf('BatchCQ', 'SimpleCQ'), isTrue: is('SimpleCQ') },
  ],
  [
    'cleanup.policy',
    { isChangeable: false, verify: oneOf('COMPACTION', 'DELETE'), isTrue: is('DELETE') },
  ],
  ['reserve.time', { isChangeable: true, verify: inRange(-1, 2n ** 63n - 1n), isTrue: NEVER }],
  ['lite.topic.expiration', { isChangeable: true, verify: inRange(-1, 43_200), isTrue: NEVER }],
])

/** No consumer of lite topics comes by this protocol. */
const LITE: Attribute = { isChangeable: true, verify: () => undefined, isTrue: () => false }

const GROUP_ATTRIBUTES: Table = new Map([
  ['priority.factor', { isChangeable: true, verify: inRange(0, 100), isTrue: () => true }],
  ...['bind.topic', 'sub.model', 'sub.wildcard', 'sub.client.quota', 'sub.client.max.event.cnt']
    .concat('sub.reset.offset.exclusive', 'sub.reset.offset.unsubscribe')
    .map((name): [string, Attribute] => [`lite.${name}`, LITE]),
])

/**
 * What the topic has after the update, or what is wrong with it. `current`: undefined for a topic
 * that is made by it. `text`: `+name=value` or `-name`, joined by commas.
 * @throws BrokerError ARGUMENT_INVALID for a value that is true of no topic here
 */
export function alterTopic(current: Attributes | undefined, text: string): Attributes | string {
  const changes = parseChanges(text)
  return typeof changes === 'string' ? changes : altered(TOPIC_ATTRIBUTES, current, changes)
}

/** The same of a group. */
export const alterGroup = (
  current: Attributes | undefined,
  changes: ReadonlyMap<string, string>,
): Attributes | string => altered(GROUP_ATTRIBUTES, current, changes)

function altered(
  table: Table,
  current: Attributes | undefined,
  changes: ReadonlyMap<string, string>,
): Attributes | string {
  const altered = new Map(Object.entries(current ?? {}))
  for (const [key, value] of changes) {
    const name = key.slice(1)
    const problem = problemOf(table, name, key, value, current)
    if (problem !== undefined) return problem
    if (key.startsWith('-')) altered.delete(name)
    else altered.set(name, value)
  }
  return Object.fromEntries(altered)
}

/** By name with its sign. */
function parseChanges(text: string): Map<string, string> | string {
  const changes = new Map<string, string>()
  for (const piece of text === '' ? [] : text.split(',')) {
    const [key = '', value] = piece.split('=', 2)
    const shown = key.slice(0, 80)
    if (value !== undefined && !key.includes('+')) {
      return `add/alter attribute format is wrong: ${shown}`
    }
    if (value === undefined && !key.includes('-'))
      return `delete attribute format is wrong: ${shown}`
    if (changes.has(key)) return `key duplication: ${shown}`
    changes.set(key, value ?? '')
  }
  return changes
}

function problemOf(
  table: Table,
  name: string,
  key: string,
  value: string,
  current: Attributes | undefined,
): string | undefined {
  const shown = name.slice(0, 80)
  if (name === '' || /[+-]/.test(name)) return 'kv string format wrong.'
  const isSet = key.startsWith('+')
  if (current === undefined && !isSet) {
    return `only add attribute is supported while creating topic. key: ${shown}`
  }
  if (!isSet && !key.startsWith('-')) return `wrong format key: ${shown}`
  if (!isSet && current?.[name] === undefined)
    return `attempt to delete a nonexistent key: ${shown}`
  const attribute = table.get(name)
  if (attribute === undefined) return `unsupported key: ${shown}`
  if (current !== undefined && !attribute.isChangeable) {
    return `attempt to update an unchangeable attribute. key: ${shown}`
  }
  if (!isSet) return undefined
  const problem = attribute.verify(value)
  if (problem === undefined && !attribute.isTrue(value)) throw notTrue(name, value)
  return problem
}

const notTrue = (name: string, value: string): BrokerError =>
  new BrokerError(
    'ARGUMENT_INVALID',
    `nothing of this broker has the attribute '${name}=${value.slice(0, 80)}'; leave it out`,
  )
