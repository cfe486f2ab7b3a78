// Topic filters to values: which filters select a name. Levels that no other filter leaves stand
// together in one node, so that a filter costs two nodes at most however many levels it has.

const SLASH = 47
const PLUS = 43
const DOLLAR = 36

interface Node<T> {
  /** One level or several; '' for the root, which has none. */
  label: string
  /** By the first level of their labels. */
  children: Map<string, Node<T>> | undefined
  /** Value of the filter that ends here. */
  value: T | undefined
  /** Value of the filter that ends here with a further '#'. */
  rest: T | undefined
}

const newNode = <T>(label: string): Node<T> => ({
  ...{ label, children: undefined, value: undefined, rest: undefined },
})

/** One value a filter. */
export class FilterTrie<T> {
  readonly #root: Node<T> = newNode('')
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Replaces the value of a filter that is there already. */
  add(filter: string, value: T): void {
    const { path, isRest } = pathOf(filter)
    let node = this.#root
    if (path !== undefined) {
      for (let from = 0; from <= path.length; from += node.label.length + 1) {
        node = childFor(node, path, from)
      }
    }
    if ((isRest ? node.rest : node.value) === undefined) this.#size++
    if (isRest) node.rest = value
    else node.value = value
  }

  get(filter: string): T | undefined {
    const { path, isRest } = pathOf(filter)
    const node = path === undefined ? this.#root : this.#trail(path)?.at(-1)
    return isRest ? node?.rest : node?.value
  }

  /** Branches without filters go, so that a churn of filters leaves nothing behind. */
  delete(filter: string): boolean {
    if (this.get(filter) === undefined) return false
    this.#size--
    const { path, isRest } = pathOf(filter)
    const trail = path === undefined ? [] : this.#trail(path)!
    const node = trail.pop() ?? this.#root
    if (isRest) node.rest = undefined
    else node.value = undefined
    if (node === this.#root || hasFilter(node)) return true
    const parent = trail.pop() ?? this.#root
    if (node.children !== undefined) mergeWithOnly(node)
    else {
      parent.children!.delete(firstLevel(node.label, 0))
      if (parent.children!.size === 0) parent.children = undefined
      if (parent !== this.#root && !hasFilter(parent)) mergeWithOnly(parent)
    }
    return true
  }

  /**
   * Calls `each` for every matching filter, each once. Wildcards in the first level do not match
   * '$...' (MQTT-4.7.2-1).
   */
  match(name: string, each: (value: T) => void): void {
    if (this.#size > 0) descend(this.#root, name, 0, each)
  }

  /** The nodes of the path below the root, its end last; undefined: no filter has it. */
  #trail(path: string): Node<T>[] | undefined {
    const trail: Node<T>[] = []
    let node = this.#root
    for (let from = 0; from <= path.length; from += node.label.length + 1) {
      const next = node.children?.get(firstLevel(path, from))
      if (next === undefined || sharedEnd(next.label, path, from) < next.label.length) {
        return undefined
      }
      trail.push(next)
      node = next
    }
    return trail
  }
}

/** A filter without its last '#'; no path for '#' alone, which has no level before it. */
function pathOf(filter: string): { path: string | undefined; isRest: boolean } {
  if (filter === '#') return { path: undefined, isRest: true }
  const isRest = filter.endsWith('/#')
  return { path: isRest ? filter.slice(0, -2) : filter, isRest }
}

function firstLevel(path: string, from: number): string {
  const slash = path.indexOf('/', from)
  return path.slice(from, slash === -1 ? path.length : slash)
}

/** The child with which the path goes on, or ends; made where there is none. */
function childFor<T>(node: Node<T>, path: string, from: number): Node<T> {
  const first = firstLevel(path, from)
  node.children ??= new Map()
  const known = node.children.get(first)
  if (known === undefined) {
    const child = newNode<T>(path.slice(from))
    node.children.set(first, child)
    return child
  }
  const end = sharedEnd(known.label, path, from)
  if (end === known.label.length) return known
  // Its label is longer than what the two share: a node for that comes in between.
  const between = newNode<T>(known.label.slice(0, end))
  known.label = known.label.slice(end + 1)
  between.children = new Map([[firstLevel(known.label, 0), known]])
  node.children.set(first, between)
  return between
}

/** Where the whole levels end that the label shares with the path from `from` on. */
function sharedEnd(label: string, path: string, from: number): number {
  let end = 0
  for (let i = 0; ; i++) {
    const isOver = i === label.length || from + i === path.length
    const a = i === label.length ? SLASH : label.charCodeAt(i)
    const b = from + i === path.length ? SLASH : path.charCodeAt(from + i)
    if (a !== b) return end
    if (a === SLASH) end = i
    if (isOver) return end
  }
}

const hasFilter = <T>({ value, rest }: Node<T>): boolean =>
  value !== undefined || rest !== undefined

/** A node without a filter and with a single child stands for nothing. */
function mergeWithOnly<T>(node: Node<T>): void {
  if (node.children?.size !== 1) return
  const [child] = node.children.values()
  node.label += `/${child!.label}`
  node.children = child!.children
  node.value = child!.value
  node.rest = child!.rest
}

/**
 * `from` is the index where the next level starts; beyond the end of the name there is none left.
 */
function descend<T>(node: Node<T>, name: string, from: number, each: (value: T) => void): void {
  const isHidden = from === 0 && name.charCodeAt(0) === DOLLAR
  if (node.rest !== undefined && !isHidden) each(node.rest)
  if (from > name.length) {
    if (node.value !== undefined) each(node.value)
    return
  }
  if (node.children === undefined) return
  const slash = name.indexOf('/', from)
  const end = slash === -1 ? name.length : slash
  follow(node.children.get(name.slice(from, end)), end - from, name, end, each)
  if (!isHidden) follow(node.children.get('+'), 1, name, end, each)
}

/** `from` and `at` are where the first level of the label, and the same level of the name, end. */
function follow<T>(
  child: Node<T> | undefined,
  from: number,
  name: string,
  at: number,
  each: (value: T) => void,
): void {
  if (child === undefined) return
  const end = child.label.length === from ? at : matchedEnd(child.label, from, name, at)
  if (end !== -1) descend(child, name, end + 1, each)
}

/** Where the levels of the name end that those of the label select, or -1. */
function matchedEnd(label: string, from: number, name: string, at: number): number {
  let i = from
  let end = at
  while (i < label.length) {
    i++
    end++
    // The label goes on and the name does not.
    if (end > name.length) return -1
    if (label.charCodeAt(i) === PLUS) {
      const slash = name.indexOf('/', end)
      end = slash === -1 ? name.length : slash
      i++
    } else {
      while (i < label.length && label.charCodeAt(i) !== SLASH) {
        if (label.charCodeAt(i++) !== name.charCodeAt(end++)) return -1
      }
    }
    if (end < name.length && name.charCodeAt(end) !== SLASH) return -1
  }
  return end
}
