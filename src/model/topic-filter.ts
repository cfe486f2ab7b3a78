// Filters with MQTT's wildcards over a message's routing name: its MQTT topic, or for a message of
// another protocol `topic` or `topic/tag` (protocol mapping R2).
import { BrokerError } from '../errors.ts'
import { FilterTrie } from './filter-trie.ts'

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
