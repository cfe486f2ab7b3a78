// Source and target as a peer asks for them (AMQP 3.5.3, 3.5.4), and the filters we understand.
// The node behind an address is not known here.
import { BrokerError } from '../../../errors.ts'
import {
  EXPRESSION_TYPE,
  type MessageFilter,
  parseMessageFilter,
  parseSelector,
} from '../../../model/message-filter.ts'
import { parseStart, type StartAt } from '../address.ts'
import { AmqpError, CONDITION } from '../errors.ts'
import { FILTER_CHARS_MAX, FILTERS_MAX } from '../limits.ts'
import { codeOf, FieldList } from './control-frames.ts'
import { type Outcome, outcomeOf } from './disposition.ts'
import { CODE } from './performatives.ts'
import { AmqpSymbol, type AmqpValue, Described, Timestamp } from './value-reader.ts'

export interface TargetTerminus {
  /** undefined: messages say where they go (anonymous relay). */
  readonly address: string | undefined
  readonly durable: number
  readonly capabilities: readonly string[]
}

export interface SourceTerminus {
  readonly address: string | undefined
  readonly durable: number
  readonly expiryPolicy: string | undefined
  readonly isCopy: boolean
  /** For a delivery that the peer settles without saying what became of it. */
  readonly defaultOutcome: Outcome | undefined
  readonly outcomes: readonly string[]
  readonly capabilities: readonly string[]
  /** Only what we apply; the rest is not echoed and so known to be off. */
  readonly filters: readonly AppliedFilter[]
}

export interface AppliedFilter {
  readonly name: string
  /** Of its value. */
  readonly chars: number
  readonly selects: MessageFilter | undefined
  readonly startAt: StartAt | undefined
}

/** JMS' message selector, as a symbol and as the code registered for it. */
const SELECTOR_FILTER = 'apache.org:selector-filter:string'
const SELECTOR_FILTER_CODE = 0x468c_0000_0004

/** Filters that select messages, and how their expression is read. */
const SELECTING_FILTERS: ReadonlyMap<string | number, (text: string) => MessageFilter> = new Map<
  string | number,
  (text: string) => MessageFilter
>([
  ['rmq:tags', (text) => parseMessageFilter(text, EXPRESSION_TYPE.tags)],
  ['rmq:sql', (text) => parseMessageFilter(text, EXPRESSION_TYPE.sql)],
  [SELECTOR_FILTER, parseSelector],
  [SELECTOR_FILTER_CODE, parseSelector],
])
const OFFSET_FILTERS: ReadonlySet<string> = new Set([
  'rmq:offset-spec',
  'rabbitmq:stream-offset-spec',
])

/**
 * A JMS client takes what comes for selected without a look at what was granted, and would accept
 * what was never meant for it.
 */
const REFUSED_FILTERS: ReadonlyMap<string | number, string> = new Map<string | number, string>([
  ['apache.org:no-local-filter:list', 'leaving out messages of the same connection'],
  [0x468c_0000_0003, 'leaving out messages of the same connection'],
])

/**
 * @throws AmqpError not-implemented for a node to be made up, or another kind of target
 */
export function readTarget(target: Described | undefined): TargetTerminus {
  if (target === undefined) return { address: undefined, durable: 0, capabilities: [] }
  if (codeOf(target) !== CODE.target) throw notImplemented('this kind of target')
  const fields = new FieldList('target', target.value)
  if (fields.boolean(4, 'dynamic')) throw notImplemented('a dynamic target')
  return {
    address: fields.text(0, 'address'),
    durable: fields.uint(1, 'durable') ?? 0,
    capabilities: fields.symbols(6, 'capabilities'),
  }
}

/** @throws AmqpError not-implemented, BrokerError FILTER_INVALID or ARGUMENT_INVALID */
export function readSource(source: Described | undefined): SourceTerminus {
  if (source === undefined || codeOf(source) !== CODE.source) {
    throw notImplemented('a link without a source')
  }
  const fields = new FieldList('source', source.value)
  if (fields.boolean(4, 'dynamic')) throw notImplemented('a dynamic source')
  const defaultOutcome = fields.at(8)
  return {
    address: fields.text(0, 'address'),
    durable: fields.uint(1, 'durable') ?? 0,
    expiryPolicy: fields.text(2, 'expiry-policy'),
    isCopy: fields.text(6, 'distribution-mode') === 'copy',
    defaultOutcome: defaultOutcome instanceof Described ? outcomeOf(defaultOutcome) : undefined,
    outcomes: fields.symbols(9, 'outcomes'),
    capabilities: fields.symbols(10, 'capabilities'),
    filters: readFilters(fields.map(7, 'filter')),
  }
}

/** The outcomes that a sending peer takes for its messages; none are named where all are. */
export const outcomesOf = (source: Described | undefined): readonly string[] =>
  source === undefined || codeOf(source) !== CODE.source
    ? []
    : new FieldList('source', source.value).symbols(9, 'outcomes')

function readFilters(filters: ReadonlyMap<AmqpValue, AmqpValue>): AppliedFilter[] {
  const applied: AppliedFilter[] = []
  for (const [key, filter] of filters) {
    if (typeof key !== 'string') continue
    const described = filter instanceof Described ? filter.descriptor : undefined
    const descriptor = described instanceof AmqpSymbol ? described.text : key
    const kind = typeof described === 'number' ? described : descriptor
    const refused = REFUSED_FILTERS.get(kind)
    if (refused !== undefined) throw notImplemented(refused)
    const value = textOf(filter instanceof Described ? filter.value : filter)
    const parse = SELECTING_FILTERS.get(kind)
    if (parse !== undefined) {
      const selects = parse(value)
      applied.push({ name: key, chars: value.length, selects, startAt: undefined })
    } else if (OFFSET_FILTERS.has(descriptor)) {
      const startAt = parseStart(value)
      applied.push({ name: key, chars: value.length, selects: undefined, startAt })
    }
  }
  checkEcho(applied)
  return applied
}

/** All of them stand in the answering attach, which is one frame. */
function checkEcho(applied: readonly AppliedFilter[]): void {
  const chars = applied.reduce((sum, one) => sum + one.name.length + one.chars, 0)
  if (applied.length <= FILTERS_MAX && chars <= FILTER_CHARS_MAX) return
  throw new BrokerError(
    'FILTER_INVALID',
    `${applied.length} filters of ${chars} characters; ${FILTERS_MAX} of ${FILTER_CHARS_MAX} are the most`,
  )
}

/** A filter's value in the words of address options: a timestamp is '@' and its milliseconds. */
function textOf(value: AmqpValue): string {
  if (value instanceof AmqpSymbol) return value.text
  if (value instanceof Timestamp) return `@${value.ms}`
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

const notImplemented = (what: string): AmqpError =>
  new AmqpError(CONDITION.notImplemented, `${what} is not offered`, 'link')
