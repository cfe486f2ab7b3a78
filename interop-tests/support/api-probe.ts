// The cases of the Java client's API (interop-tests/java, `api`), asked of two brokers.
import type { ExecutionContext } from 'ava'
import { java } from './java-client.ts'

/** So many cases may be asked once more, alone: two dozen at once make a small machine late. */
const AGAIN_MAX = 10
const AGAIN_TIMES = 2

export interface Answers {
  readonly theirs: ReadonlyMap<string, string>
  readonly ours: ReadonlyMap<string, string>
}

/**
 * Of the cases whose names begin with `only`. One in which the two differ is asked again alone, unless
 * the difference is known.
 */
export async function askBoth(
  t: ExecutionContext,
  nameServers: { readonly theirs: string; readonly ours: string },
  { only = '', isKnown = () => false }: { only?: string; isKnown?: IsKnown } = {},
): Promise<Answers> {
  const theirs = await answers(t, nameServers.theirs, only)
  const ours = await answers(t, nameServers.ours, only)
  for (let times = 0; times < AGAIN_TIMES; times++) {
    const unknown = different({ theirs, ours }).filter((name) => !isKnown(name, ours.get(name)))
    for (const name of unknown.slice(0, AGAIN_MAX)) {
      t.log(`asked again: ${name}: Apache ${theirs.get(name)}, ours ${ours.get(name)}`)
      for (const [one, answer] of await answers(t, nameServers.theirs, name))
        theirs.set(one, answer)
      for (const [one, answer] of await answers(t, nameServers.ours, name)) ours.set(one, answer)
    }
  }
  return { theirs, ours }
}

type IsKnown = (name: string, ours: string | undefined) => boolean

export const different = ({ theirs, ours }: Answers): string[] =>
  [...theirs].filter(([name, answer]) => ours.get(name) !== answer).map(([name]) => name)

export async function answers(
  t: ExecutionContext,
  nameServer: string,
  only: string,
  jvmOptions: readonly string[] = [],
): Promise<Map<string, string>> {
  const probe = await java(t, 'api', { nameServer, only }, jvmOptions)
  await probe.ends()
  return new Map(probe.of('case').map((event) => [String(event['name']), String(event['answer'])]))
}
