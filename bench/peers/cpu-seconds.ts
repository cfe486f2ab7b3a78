// User and system time of a server: of its process with all threads, and of the processes below it.
import { readdirSync, readFileSync } from 'node:fs'

const TICKS_PER_SECOND = 100

export function cpuSeconds(pid: number): number {
  const ticks = new Map<number, { readonly parent: number; readonly used: number }>()
  for (const name of readdirSync('/proc')) {
    const found = /^\d+$/.test(name) ? statOf(name) : undefined
    if (found === undefined) continue
    const [, parent, used, system] = [0, 1, 11, 12].map((at) => Number(found[at]))
    ticks.set(Number(name), { parent: parent!, used: used! + system! })
  }
  const isOfIt = (one: number): boolean =>
    one === pid || (ticks.has(one) && isOfIt(ticks.get(one)!.parent))
  const used = [...ticks].filter(([one]) => isOfIt(one)).map(([, { used }]) => used)
  return used.reduce((sum, one) => sum + one, 0) / TICKS_PER_SECOND
}

/** The fields behind the name, from the state on; undefined: it has ended. */
function statOf(pid: string): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}
