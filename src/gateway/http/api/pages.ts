// Long lists, page by page: by name, behind the last one of the page before.
import { z } from 'zod'

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

export function pageOf<T>(
  all: readonly T[],
  nameOf: (one: T) => string,
  { after, max, contains }: PageQuery,
): Page<T> {
  const wanted = contains === undefined ? all : all.filter((one) => nameOf(one).includes(contains))
  const sorted = wanted.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
  const from = after === undefined ? 0 : sorted.findIndex((one) => nameOf(one) > after)
  const page = from < 0 ? [] : sorted.slice(from, from + max)
  const isLast = from < 0 || from + max >= sorted.length
  return { page, total: sorted.length, ...(!isLast && { next: nameOf(page.at(-1)!) }) }
}
