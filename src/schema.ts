// How zod checks in this process, and what it says of its schemas. Comes before the first schema is
// used: each is used a few times at most, so code that is made for it at run time is never worth
// its price.
import { z } from 'zod'
import type { JsonSchema } from './settings.ts'

z.config({ jitless: true })

// zod keeps the first schema of each kind for as long as the process runs, and with it all that it
// is made of. As these are the first, schemas that are used no more are free.
const inner = z.strictObject({ list: z.array(z.string()), map: z.record(z.string(), z.int()) })
const filled = inner.prefault({ list: [], map: {} }).superRefine(() => {})
z.union([filled, z.literal('none')]).transform((value) => value)

/** Made once, when it is asked for: it takes a tenth of a start. */
export function lazyJsonSchema(schema: z.ZodType): () => JsonSchema {
  let made: JsonSchema | undefined
  return () => {
    made ??= z.toJSONSchema(schema, { io: 'input' }) as JsonSchema
    return made
  }
}

/** The values that an object's schema declares, by their paths; those of `$schema` aside. */
export function* leavesOf(
  schema: z.ZodType,
  path: readonly string[] = [],
): Generator<readonly [path: readonly string[], leaf: z.ZodType]> {
  const inner = schema instanceof z.ZodPrefault ? schema.unwrap() : schema
  if (!(inner instanceof z.ZodObject)) {
    yield [path, schema]
    return
  }
  for (const [key, child] of Object.entries(inner.shape as Record<string, z.ZodType>)) {
    if (!key.startsWith('$')) yield* leavesOf(child, [...path, key])
  }
}

/** Is the value of this leaf true or false, and nothing else? */
export function isSwitch(leaf: z.ZodType): boolean {
  let inner: unknown = leaf
  while (inner instanceof z.ZodDefault || inner instanceof z.ZodOptional) inner = inner.unwrap()
  return inner instanceof z.ZodBoolean
}
