// Long lists, page by page: by name, behind the last one of the page before; and one of a list.
import { z } from 'zod'
import { isAllowed } from '../../../access/auth.ts'
import { Slice } from '../../../clock.ts'
import { BrokerError, type ErrorCode } from '../../../errors.ts'
import type { ApiQuestion } from './endpoint.ts'

const PAGE_DEFAULT = 100
export const PAGE_MAX = 1000

export const PAGE = {
  after: z.string().optional().describe('The last name of the page before.'),
  max: z.coerce
    .number()
    .int()
    .min(1)
    .max(PAGE_MAX)
    .default(PAGE_DEFAULT)
    .describe('Entries at most.'),
  contains: z.string().optional().describe('Only names with this in them.'),
}

export interface PageQuery {
  readonly after?: string | undefined
  readonly max: number
  readonly contains?: string | undefined
}

export interface Page<T> {
  readonly page: readonly T[]
  /** For `after`; absent on the last page. */
  readonly next?: string
  /** Entries of all pages. */
  readonly total: number
}

/** Looks at each once, in slices: a broker may have a hundred thousand of them. */
export async function pageOf<T>(
  all: Iterable<T>,
  nameOf: (one: T) => string,
  { after, max, contains }: PageQuery,
  slice: Slice,
): Promise<Page<T>> {
  let total = 0
  let found: T[] = []
  for (const one of all) {
    if (slice.isOver) await slice.rest()
    const name = nameOf(one)
    if (contains !== undefined && !name.includes(contains)) continue
    total++
    if (after !== undefined && name <= after) continue
    found.push(one)
    if (found.length > SORTED_AT_ONCE * max) found = firstOf(found, nameOf, max + 1)
  }
  const page = firstOf(found, nameOf, max + 1)
  if (page.length <= max) return { page, total }
  page.pop()
  return { page, total, next: nameOf(page.at(-1)!) }
}

/** A page of those that the user may read, each as `show` makes it; one that goes is left out. */
export async function readablePage<T extends { readonly name: string }, Shown>(
  { query, principal, context }: ApiQuestion<PageQuery, unknown>,
  kind: 'topic' | 'group',
  all: Iterable<T>,
  show: (one: T) => Promise<Shown>,
): Promise<Page<Shown>> {
  const { auth, clock } = context
  const slice = new Slice(clock)
  function* readable(): Generator<T> {
    for (const one of all) {
      if (isAllowed(auth, principal, 'read', { kind, name: one.name })) yield one
    }
  }
  const { page, ...rest } = await pageOf(readable(), ({ name }) => name, query, slice)
  const shown: Shown[] = []
  for (const one of page) {
    if (slice.isOver) await slice.rest()
    try {
      shown.push(await show(one))
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }
  return { page: shown, ...rest }
}

/** It went while the list was made; or, of a group, no consumer has used it in this cluster. */
export const isGone = (error: unknown): boolean => GONE.has(BrokerError.from(error).code)

const GONE: ReadonlySet<ErrorCode> = new Set(['TOPIC_NOT_FOUND', 'GROUP_NOT_FOUND'])

/** Pages. */
const SORTED_AT_ONCE = 8

const firstOf = <T>(all: readonly T[], nameOf: (one: T) => string, max: number): T[] =>
  all.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1)).slice(0, max)

/**
 * The topic or group that the path names.
 * @throws BrokerError PERMISSION_DENIED, TOPIC_NOT_FOUND, GROUP_NOT_FOUND
 */
export async function readableOne<T>(
  { params, principal, context }: ApiQuestion<unknown, unknown>,
  kind: 'topic' | 'group',
  get: (name: string) => Promise<T | undefined>,
): Promise<T> {
  const name = params[kind]!
  context.auth.authorize(principal, 'read', { kind, name })
  const found = await get(name)
  if (found !== undefined) return found
  const code = kind === 'topic' ? 'TOPIC_NOT_FOUND' : 'GROUP_NOT_FOUND'
  throw new BrokerError(code, `there is no ${kind} '${name.slice(0, 300)}'`)
}
