// Topic names by their levels, to find those that a filter selects: the mirror of FilterTrie, which finds
// the filters that select a name.

interface Node {
  children: Map<string, Node> | undefined
  /** The name that ends here. */
  name: string | undefined
}

const emptyNode = (): Node => ({ children: undefined, name: undefined })

export class TopicTree {
  readonly #root = emptyNode()

  add(name: string): void {
    let node = this.#root
    for (const level of name.split('/')) {
      let next = node.children?.get(level)
      if (next === undefined) {
        next = emptyNode()
        node.children ??= new Map()
        node.children.set(level, next)
      }
      node = next
    }
    node.name = name
  }

  /** Empty branches go too. */
  delete(name: string): void {
    const path: [parent: Node, level: string][] = []
    let node = this.#root
    for (const level of name.split('/')) {
      const next = node.children?.get(level)
      if (next === undefined) return
      path.push([node, level])
      node = next
    }
    node.name = undefined
    for (const [parent, level] of path.reverse()) {
      const child = parent.children!.get(level)!
      if (child.name !== undefined || child.children !== undefined) break
      parent.children!.delete(level)
      if (parent.children!.size === 0) parent.children = undefined
    }
  }

  /** Calls `each` for every name the filter selects; wildcards in the first level skip '$...' names. */
  match(filter: string, each: (name: string) => void): void {
    walk(this.#root, filter.split('/'), 0, each)
  }
}

function walk(node: Node, levels: readonly string[], depth: number, each: (name: string) => void) {
  const level = levels[depth]
  if (level === undefined) {
    if (node.name !== undefined) each(node.name)
    return
  }
  if (level === '#') return all(node, depth === 0, each)
  if (level !== '+') {
    const child = node.children?.get(level)
    if (child !== undefined) walk(child, levels, depth + 1, each)
    return
  }
  for (const [name, child] of node.children ?? []) {
    if (depth > 0 || !name.startsWith('$')) walk(child, levels, depth + 1, each)
  }
}

function all(node: Node, isFirst: boolean, each: (name: string) => void): void {
  if (node.name !== undefined) each(node.name)
  for (const [level, child] of node.children ?? []) {
    if (!isFirst || !level.startsWith('$')) all(child, false, each)
  }
}
