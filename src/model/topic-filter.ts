// Filters with MQTT's wildcards over a message's routing name: its MQTT topic, or for a message of
// another protocol `topic` or `topic/tag` (protocol mapping R2). The trie answers, for one name,
// every bound filter that matches; cost grows with the name's levels, not with the number of
// filters.
import { BrokerError } from '../errors.ts'

export const FILTER_LEVELS_MAX = 1024
/**
 * A record has no room for longer names, so a longer filter selects nothing that a shorter one does
 * not.
 */
export const FILTER_BYTES_MAX = 32_000

/** A wildcard beside something else in its level, or '#' before the last level. */
const MISPLACED = /[^/][#+]|[#+][^/]|#\//s

/** Do wildcards stand where MQTT-4.7.1-1 and MQTT-4.7.1-2 have them? */
export const hasWildcardsInPlace = (filter: string): boolean => !MISPLACED.test(filter)

const SLASH = 47

export function levelsOf(name: string): number {
  let levels = 1
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) === SLASH) levels++
  return levels
}

/** @throws BrokerError FILTER_INVALID where MQTT 5, 4.7.1 forbids the filter */
export function checkTopicFilter(filter: string): void {
  const bad =
    filter === '' ||
    filter.includes('\u0000') ||
    levelsOf(filter) > FILTER_LEVELS_MAX ||
    Buffer.byteLength(filter) > FILTER_BYTES_MAX ||
    !hasWildcardsInPlace(filter)
  if (bad) {
    const shown = JSON.stringify(filter.slice(0, 80))
    throw new BrokerError('FILTER_INVALID', `${shown} is not a topic filter (MQTT 4.7.1)`)
  }
}

/** Does one filter match one name? For many filters use FilterTrie. */
export function filterMatches(filter: string, name: string): boolean {
  const trie = new FilterTrie<true>()
  trie.add(filter, true)
  let hit = false
  trie.match(name, () => {
    hit = true
  })
  return hit
}

interface Node<T> {
  children: Map<string, Node<T>> | undefined
  /** Value of the filter that ends here. */
  value: T | undefined
  /** Value of the filter that ends here with a further '#'. */
  rest: T | undefined
}

const emptyNode = <T>(): Node<T> => ({ children: undefined, value: undefined, rest: undefined })

/** Filters to values, one value a filter. */
export class FilterTrie<T> {
  readonly #root: Node<T> = emptyNode()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Replaces the value of a filter that is there already. */
  add(filter: string, value: T): void {
    const { node, isRest } = this.#walk(filter, true)!
    if ((isRest ? node.rest : node.value) === undefined) this.#size++
    if (isRest) node.rest = value
    else node.value = value
  }

  get(filter: string): T | undefined {
    const found = this.#walk(filter, false)
    return found && (found.isRest ? found.node.rest : found.node.value)
  }

  /** Empty branches are pruned, so that a churn of filters leaves nothing behind. */
  delete(filter: string): boolean {
    if (this.get(filter) === undefined) return false
    this.#size--
    prune(this.#root, filter.split('/'), 0)
    return true
  }

  /**
   * Calls `each` for every matching filter, each once. Wildcards in the first level do not match
   * '$...' (MQTT-4.7.2-1).
   */
  match(name: string, each: (value: T) => void): void {
    if (this.#size > 0) descend(this.#root, name, 0, each)
  }

  #walk(filter: string, create: boolean): { node: Node<T>; isRest: boolean } | undefined {
    const levels = filter.split('/')
    const isRest = levels.at(-1) === '#'
    if (isRest) levels.pop()
    let node = this.#root
    for (const level of levels) {
      let next = node.children?.get(level)
      if (next === undefined) {
        if (!create) return undefined
        next = emptyNode()
        node.children ??= new Map()
        node.children.set(level, next)
      }
      node = next
    }
    return { node, isRest }
  }
}

/**
 * `from` is the index where the next level starts; beyond the end of the name there is none left.
 */
function descend<T>(node: Node<T>, name: string, from: number, each: (value: T) => void): void {
  const hidden = from === 0 && name.charCodeAt(0) === 36 // '$'
  if (node.rest !== undefined && !hidden) each(node.rest)
  if (from > name.length) {
    if (node.value !== undefined) each(node.value)
    return
  }
  if (node.children === undefined) return
  const slash = name.indexOf('/', from)
  const end = slash === -1 ? name.length : slash
  const exact = node.children.get(name.slice(from, end))
  if (exact !== undefined) descend(exact, name, end + 1, each)
  const plus = hidden ? undefined : node.children.get('+')
  if (plus !== undefined) descend(plus, name, end + 1, each)
}

/** Removes the filter's value; answers whether the node became empty. */
function prune<T>(node: Node<T>, levels: readonly string[], depth: number): boolean {
  const level = levels[depth]
  if (level === undefined) node.value = undefined
  else if (level === '#' && depth === levels.length - 1) node.rest = undefined
  else {
    const child = node.children?.get(level)
    if (child !== undefined && prune(child, levels, depth + 1)) node.children!.delete(level)
    if (node.children?.size === 0) node.children = undefined
  }
  return node.children === undefined && node.value === undefined && node.rest === undefined
}
