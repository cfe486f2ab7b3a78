// How many files and sockets the system lets a process have open.
import { readFileSync } from 'node:fs'

/**
 * The soft limit, where the system tells. Beyond it the kernel drops
 * connections without a word.
 */
export function openFilesLimit(pid: number | 'self' = 'self'): number | undefined {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/limits`, 'utf8')
  } catch {
    return undefined
  }
  const soft = /^Max open files\s+(\d+)/m.exec(text)?.[1]
  return soft === undefined ? undefined : Number(soft)
}
