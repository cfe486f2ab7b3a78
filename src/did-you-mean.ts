// The likeliest known name for an unknown one: used wherever a person types names.

/** Edit distance with transpositions (optimal string alignment), cut off beyond `most`. */
export function distance(a: string, b: string, most: number): number {
  if (Math.abs(a.length - b.length) > most) return most + 1
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let cost = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, before[j - 2]! + 1)
      }
      row.push(cost)
    }
    before = above
    above = row
  }
  return above[b.length]!
}

/** undefined when nothing is near enough to be a slip of the keyboard. */
export function nearest(unknown: string, known: Iterable<string>): string | undefined {
  const wanted = unknown.toLowerCase()
  let best: string | undefined
  let least = Math.max(2, Math.floor(unknown.length / 3)) + 1
  for (const name of known) {
    const candidate = name.toLowerCase()
    // Half a word is often a memory of the whole.
    const isStart = wanted.length >= 3 && candidate.startsWith(wanted)
    const cost = isStart ? 1 : distance(wanted, candidate, least)
    if (cost < least) {
      least = cost
      best = name
    }
  }
  return best
}

/** ` (did you mean 'x'?)`, or nothing. */
export function didYouMean(unknown: string, known: Iterable<string>): string {
  const name = nearest(unknown, known)
  return name === undefined ? '' : ` (did you mean '${name}'?)`
}
