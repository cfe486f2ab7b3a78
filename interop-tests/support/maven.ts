// Java projects of the interop tests: their jars and classes come through the installed Maven.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const BUILD_MS_MAX = 300_000

/** Why this machine cannot build and run Java programs, or undefined when it can. */
export async function mavenMissing(): Promise<string | undefined> {
  for (const tool of ['mvn', 'java']) {
    try {
      // Cheaper than to start it.
      await run('sh', ['-c', `command -v ${tool}`])
    } catch {
      return `'${tool}' is not installed; install Maven and a JDK 11 or newer`
    }
  }
  return undefined
}

const built = new Map<string, Promise<string>>()

/** Compiles a project once per test process; answers with the class path. */
export function classPath(project: string, version?: string): Promise<string> {
  const id = `${project} ${version ?? ''}`
  const known = built.get(id) ?? build(project, version)
  built.set(id, known)
  return known
}

/**
 * A project of several versions has a folder below `target` for each. The class path is kept under a name that its
 * sources make, so that Maven runs once for all test files.
 */
async function build(project: string, version: string | undefined): Promise<string> {
  const target = version === undefined ? `${project}target` : `${project}target/${version}`
  const file = `${target}/classpath-${await digestOf(project)}.txt`
  const known = await readFile(file, 'utf8').catch(() => '')
  if (known !== '' && known.split(delimiter).every((part) => existsSync(part))) return known
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath'
  const jars = `${target}/jars.txt`
  const args = ['-B', '-q', '-f', `${project}pom.xml`, 'compile', goal, `-Dmdep.outputFile=${jars}`]
  if (version !== undefined) args.push(`-Drocketmq.version=${version}`)
  await run('mvn', args, { timeout: BUILD_MS_MAX, maxBuffer: 16 * 1024 * 1024 })
  const path = `${target}/classes${delimiter}${(await readFile(jars, 'utf8')).trim()}`
  await writeFile(file, path)
  return path
}

async function digestOf(project: string): Promise<string> {
  const hash = createHash('sha256').update(await readFile(`${project}pom.xml`))
  const entries = await readdir(`${project}src`, { recursive: true, withFileTypes: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  for (const name of files.toSorted()) hash.update(name).update(await readFile(name))
  return hash.digest('hex').slice(0, 16)
}
