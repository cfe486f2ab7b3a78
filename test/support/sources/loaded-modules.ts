// The modules that a process loads, as they are loaded: a hook of Node's that tells each address.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

const encoded = (script: string): string => `data:text/javascript,${encodeURIComponent(script)}`

/** For NODE_OPTIONS: each address is a line of the file. */
export function tellingLoaded(file: string): string {
  const hook = `
    import { appendFileSync } from 'node:fs'
    export async function load(url, context, next) {
      appendFileSync(${JSON.stringify(file)}, url + '\\n')
      return next(url, context)
    }`
  const register = `
    import { register } from 'node:module'
    register(${JSON.stringify(encoded(hook))})`
  return `--import ${encoded(register)}`
}

/** Packages by their names, and our own files by their paths below src. */
export async function loadedModules(file: string): Promise<{ packages: string[]; own: string[] }> {
  const urls = (await readFile(file, 'utf8')).trimEnd().split('\n')
  const packages = new Set<string>()
  const own = new Set<string>()
  for (const url of urls) {
    const [, name] = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url) ?? []
    const [, path] = /\/dist\/src\/(.+)\.js$/.exec(url) ?? []
    if (name !== undefined) packages.add(name)
    else if (path !== undefined) own.add(path)
    else if (url.startsWith('node:')) packages.add(url)
  }
  return { packages: [...packages].sort(), own: [...own].sort() }
}

export const loadedFile = (directory: string): string => join(directory, 'loaded')
