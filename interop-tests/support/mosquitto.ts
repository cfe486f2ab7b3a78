// Debian's mosquitto-clients, where they are installed.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)
const NEEDED = ['mosquitto_pub', 'mosquitto_sub', 'stdbuf']

/** Their own help exits with a code, so only a command that is not there counts. */
async function isMissing(command: string): Promise<boolean> {
  try {
    await run(command, ['--help'])
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}

/** Why this machine cannot run them, or undefined when it can. */
export async function mosquittoMissing(): Promise<string | undefined> {
  const absent = await Promise.all(NEEDED.map(isMissing))
  const missing = NEEDED.filter((_, index) => absent[index]).join(', ')
  return missing === '' ? undefined : `${missing} not installed`
}
