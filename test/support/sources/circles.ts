// Circles among the files of a graph of imports.

/** By file: the files it imports. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>

/**
 * Groups of files that import each other, directly or through others (Tarjan's strongly connected
 * components).
 */
export function circlesOf(graph: ImportGraph): readonly (readonly string[])[] {
  const found: string[][] = []
  const number = new Map<string, number>()
  const lowest = new Map<string, number>()
  const open: string[] = []
  const isOpen = new Set<string>()
  const visit = (file: string): void => {
    const own = number.size
    number.set(file, own)
    lowest.set(file, own)
    open.push(file)
    isOpen.add(file)
    for (const next of graph.get(file) ?? []) {
      if (!number.has(next)) {
        visit(next)
        lowest.set(file, Math.min(lowest.get(file)!, lowest.get(next)!))
      } else if (isOpen.has(next)) {
        lowest.set(file, Math.min(lowest.get(file)!, number.get(next)!))
      }
    }
    if (lowest.get(file) !== own) return
    const circle = open.splice(open.indexOf(file))
    for (const one of circle) isOpen.delete(one)
    if (circle.length > 1) found.push(circle.sort())
  }
  for (const file of graph.keys()) if (!number.has(file)) visit(file)
  return found
}
