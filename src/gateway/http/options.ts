// The settings of HTTP beside those that every listener has.
import { z } from 'zod'

export const httpSettings = () => ({
  hosts: z
    .array(z.string().min(1))
    .max(64)
    .default([])
    .describe(
      'Without users: names by which browsers may call this server, besides addresses, `localhost` and `http.advertisedHost`.',
    ),
  openMetrics: z
    .boolean()
    .default(false)
    .describe('Answer `/metrics` without credentials where there are users.'),
  requestMs: z
    .int()
    .min(100)
    .default(30_000)
    .describe(
      'From connecting, or from the last answer, to the end of the next request; then the connection is closed.',
    ),
  requestsMax: z
    .int()
    .min(1)
    .default(64)
    .describe('Requests that are answered at one time; others are told to come again (503).'),
})

export type HttpOptions = z.output<z.ZodObject<ReturnType<typeof httpSettings>>> & {
  readonly advertisedHost?: string | undefined
}

export const HTTP_DEFAULTS: HttpOptions = z.object(httpSettings()).parse({})
