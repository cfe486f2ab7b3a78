// What this process and its main thread have used of the processor so far, by wall-clock time.
import { existsSync, readFileSync } from 'node:fs'

export interface Cpu {
  readonly mainUs: number
  readonly allUs: number
  readonly wallMs: number
}

export function cpuNow(): Cpu {
  const { user, system } = process.cpuUsage()
  const stat = `/proc/self/task/${process.pid}/schedstat`
  const mainNs = existsSync(stat) ? Number(readFileSync(stat, 'latin1').split(' ')[0]) : 0
  return { mainUs: mainNs / 1000, allUs: user + system, wallMs: performance.now() }
}
