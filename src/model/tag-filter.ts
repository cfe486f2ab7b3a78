// Tags and RocketMQ's TAG subscription expressions: '*', 'A', 'A || B'.
import { BrokerError } from '../errors.ts'

/** Java's String.hashCode as a signed 32-bit number: what the consume queue keeps of a tag. */
export function tagHash(tag: string): number {
  let h = 0
  for (let i = 0; i < tag.length; i++) h = (Math.imul(31, h) + tag.charCodeAt(i)) | 0
  return h
}

/** A message without a tag has hash 0 and matches only '*'. */
export const NO_TAG_HASH = 0

export interface TagFilter {
  readonly kind: 'tags'
  /** Canonical text: '*' or tags joined by ' || ' in the order given. */
  readonly expression: string
  /** undefined = every message. */
  readonly tags: ReadonlySet<string> | undefined
  readonly hashes: ReadonlySet<number> | undefined
}

export const EVERY_TAG: TagFilter = {
  kind: 'tags',
  expression: '*',
  tags: undefined,
  hashes: undefined,
}

const TAGS_PER_FILTER_MAX = 1024

/** @throws BrokerError FILTER_INVALID */
export function parseTagFilter(expression: string | undefined): TagFilter {
  if (expression === undefined) return EVERY_TAG
  const trimmed = expression.trim()
  if (trimmed === '' || trimmed === '*') return EVERY_TAG
  const tags = trimmed
    .split('||')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '')
  if (tags.length === 0 || tags.length > TAGS_PER_FILTER_MAX) {
    throw new BrokerError(
      'FILTER_INVALID',
      `the tag expression ${JSON.stringify(expression.slice(0, 80))} has ${tags.length} tags; ` +
        `write '*' or 1 to ${TAGS_PER_FILTER_MAX} tags joined by '||'`,
    )
  }
  if (tags.includes('*')) return EVERY_TAG
  return tagFilterOf(tags)
}

export function tagFilterOf(tags: readonly string[]): TagFilter {
  const unique = new Set(tags)
  return {
    kind: 'tags',
    expression: [...unique].join(' || '),
    tags: unique,
    hashes: new Set([...unique].map(tagHash)),
  }
}

/** Do both want the same tags, in whatever order they name them? */
export function wantSameTags(a: TagFilter, b: TagFilter): boolean {
  if (a.tags === undefined || b.tags === undefined) return a.tags === b.tags
  if (a.tags.size !== b.tags.size) return false
  for (const tag of a.tags) if (!b.tags.has(tag)) return false
  return true
}

/** The exact check behind the hash: hashes collide. */
export function tagMatches(filter: TagFilter, tag: string | undefined): boolean {
  return filter.tags === undefined || (tag !== undefined && filter.tags.has(tag))
}
