// What a reader selects of a topic: by tags, or by a SQL92 condition over properties.
import { BrokerError } from '../errors.ts'
import { PROPERTY } from './properties.ts'
import type { RecordView } from './record.ts'
import type { Properties } from './sql92/expression.ts'
import { parseSqlFilter, type SqlFilter } from './sql92/sql-filter.ts'
import { parseTagFilter, type TagFilter, tagMatches, wantSameTags } from './tag-filter.ts'

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

/** The exact check; the hashes of tags collide, and conditions have none. */
export const selects = (filter: MessageFilter, record: RecordView): boolean =>
  filter.kind === 'tags'
    ? filter.tags === undefined || tagMatches(filter, record.property(PROPERTY.tags))
    : filter.matches(propertiesFor(filter, record))

/** Lookups of one record, each of which scans its properties; above that they are decoded once. */
const SCANS_MAX = 4

function propertiesFor({ operations }: SqlFilter, record: RecordView): Properties {
  if (operations <= SCANS_MAX) return (name) => record.property(name)
  const values = record.firstProperties()
  return (name) => values.get(name)
}

export function wantTheSame(a: MessageFilter, b: MessageFilter): boolean {
  if (a.kind === 'tags' && b.kind === 'tags') return wantSameTags(a, b)
  return a.kind === b.kind && a.expression === b.expression
}

/** Messages that can be checked in the time of `records` checks by tags. */
export const recordsInTimeOf = (records: number, filter: MessageFilter): number =>
  filter.kind === 'tags' ? records : Math.ceil(records / (4 + filter.operations / 8))
