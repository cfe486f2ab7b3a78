import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { lockByKernel } from '../../src/store/views/level.ts'
import { LogLines } from '../support/log-lines.ts'
import { tempDir } from '../support/temp-dir.ts'

const FILES = [/^000003\.log$/, /^CURRENT$/, /^LOCK$/, /^LOG$/, /^MANIFEST-000002$/]

/** Takes the lock and lets it go. @returns the directory's files while it was held */
async function takeLock(t: ExecutionContext, directory: string): Promise<string[]> {
  const log = new LogLines()
  const unlock = await lockByKernel(directory, log)
  t.deepEqual(log.events(), [])
  const names = await readdir(directory)
  await unlock!()
  return names.sort()
}

test('taking the lock removes nothing of what it is just opening', async (t) => {
  const directory = join(await tempDir(t), 'lock')
  for (let i = 0; i < 100; i++) {
    const names = await takeLock(t, directory)
    t.is(names.length, FILES.length, names.join())
    for (const [n, pattern] of FILES.entries()) t.regex(names[n]!, pattern)
  }
})

test('the lock is taken whatever has become of its files', async (t) => {
  const directory = join(await tempDir(t), 'lock')
  for (const name of await takeLock(t, directory)) {
    await writeFile(join(directory, name), 'rotten')
    t.is((await takeLock(t, directory)).length, FILES.length)
  }
})

test("what is not the lock's own stays where it is", async (t) => {
  const directory = join(await tempDir(t), 'lock')
  await mkdir(join(directory, 'folder'), { recursive: true })
  await writeFile(join(directory, 'note.txt'), 'keep')
  const names = await takeLock(t, directory)
  t.true(names.includes('folder'))
  t.true(names.includes('note.txt'))
})

test('where no lock can be had it is said, and nothing is refused', async (t) => {
  const path = join(await tempDir(t), 'lock')
  await writeFile(path, 'a file where a directory is due')
  const log = new LogLines()
  const unlock = await lockByKernel(path, log)
  t.deepEqual(log.events(), ['lock.not_taken'])
  await unlock!()
})
