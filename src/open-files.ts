// How many files and sockets the system lets this process have open.
import { readFileSync } from 'node:fs'

/**
 * The soft limit, where the system tells. Beyond it the kernel drops
 * connections without a word.
 */
export function openFilesLimit(): number | undefined {
  let text: string
  try {
    text = readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return undefined
  }
  const soft = /^Max open files\s+(\d+)/m.exec(text)?.[1]
  return soft === undefined ? undefined : Number(soft)
}
