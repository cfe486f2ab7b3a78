// How many sessions of this gateway subscribe to each filter: enough to tell a publisher that none
// does.
import { FilterTrie } from '../../../model/filter-trie.ts'

export class FilterCounts {
  readonly #trie = new FilterTrie<number>()
  /** Changes with the set of filters. */
  generation = 0

  add(filter: string): void {
    const count = this.#trie.get(filter)
    this.#trie.add(filter, (count ?? 0) + 1)
    if (count === undefined) this.generation++
  }

  remove(filter: string): void {
    const count = this.#trie.get(filter)
    if (count === undefined) return
    if (count > 1) {
      this.#trie.add(filter, count - 1)
      return
    }
    this.#trie.delete(filter)
    this.generation++
  }

  /** How many filters select the name. */
  matching(name: string): number {
    let count = 0
    this.#trie.match(name, () => {
      count++
    })
    return count
  }
}
