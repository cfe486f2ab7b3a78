// Topic names by their levels, to find those that a filter selects: the mirror of FilterTrie, which
// finds the filters that select a name. They stand in the order of their levels, so that a caller
// that takes a few at a time goes on behind the last one, with no state kept in between.

interface Node {
  readonly level: string
  /** In the order of their levels. */
  readonly children: Node[]
  /** The name that ends here. */
  name: string | undefined
}

const newNode = (level: string): Node => ({ level, children: [], name: undefined })

export class TopicTree {
  readonly #root = newNode('')

  add(name: string): void {
    let node = this.#root
    for (const level of name.split('/')) {
      const at = indexOf(node, level)
      let next = node.children[at]
      if (next?.level !== level) {
        next = newNode(level)
        node.children.splice(at, 0, next)
      }
      node = next
    }
    node.name = name
  }

  /** Empty branches go too. */
  delete(name: string): void {
    const path: [parent: Node, at: number][] = []
    let node = this.#root
    for (const level of name.split('/')) {
      const at = indexOf(node, level)
      const next = node.children[at]
      if (next?.level !== level) return
      path.push([node, at])
      node = next
    }
    node.name = undefined
    for (const [parent, at] of path.reverse()) {
      const child = parent.children[at]!
      if (child.name !== undefined || child.children.length > 0) break
      parent.children.splice(at, 1)
    }
  }

  /**
   * The first `max` names that the filter selects, in their order, behind `after` or from the
   * beginning; wildcards in the first level skip '$...' names. Passes by so many levels of names
   * at most, and then tells behind which it is to go on.
   */
  match(
    filter: string,
    after: string | undefined,
    max: number,
    levelsMax = LEVELS_MAX,
  ): { readonly names: readonly string[]; readonly seenTo: string | undefined } {
    const search: Search = {
      ...{ filter: filter.split('/'), after: after?.split('/') ?? [], max, names: [] },
      ...{ left: levelsMax, last: [] },
    }
    walk(search, this.#root, 0, after !== undefined)
    const { names, last } = search
    return { names, seenTo: last.length > 0 ? last.reverse().join('/') : undefined }
  }
}

/** Each takes up to 200 ns. */
const LEVELS_MAX = 20_000

interface Search {
  readonly filter: readonly string[]
  readonly after: readonly string[]
  readonly max: number
  readonly names: string[]
  /** Levels that may still be passed by. */
  left: number
  /** Of the last one, its levels from the end. */
  readonly last: string[]
}

/**
 * `isBefore`: the node's name is `after` or begins it, so it has had its turn; its children may
 * not.
 */
function walk(search: Search, node: Node, depth: number, isBefore: boolean): void {
  const { filter, after, max, names } = search
  const level = filter[depth] ?? (filter.at(-1) === '#' ? '#' : undefined)
  if (node.name !== undefined && !isBefore && (level === undefined || level === '#')) {
    names.push(node.name)
  }
  if (!isBefore && depth > 0) search.left--
  if (level === undefined || search.left <= 0) return
  const isWild = level === '#' || level === '+'
  // Undefined where `after` ends: every child is behind it.
  const least = isBefore ? after[depth] : undefined
  if (!isWild && least !== undefined && level < least) return
  const from = isWild ? least : level
  for (let at = from === undefined ? 0 : indexOf(node, from); names.length < max; at++) {
    const child = node.children[at]
    if (child === undefined || (!isWild && child.level !== level)) return
    if (isWild && depth === 0 && child.level.startsWith('$')) continue
    walk(search, child, depth + 1, child.level === least)
    if (search.left > 0) continue
    search.last.push(child.level)
    return
  }
}

/** Where the level stands among the node's children, or would. */
function indexOf({ children }: Node, level: string): number {
  let from = 0
  let end = children.length
  while (from < end) {
    const middle = (from + end) >>> 1
    if (children[middle]!.level < level) from = middle + 1
    else end = middle
  }
  return from
}
