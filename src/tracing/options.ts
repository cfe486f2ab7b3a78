// The settings of tracing.
import { z } from 'zod'

export const tracingSettings = () => ({
  endpoint: z
    .string()
    .regex(/^https?:\/\/[^/]/, { error: 'not a URL that begins with http:// or https://' })
    .optional()
    .describe(
      'Where spans of messages are sent by OTLP over HTTP: `http://127.0.0.1:4318/v1/traces`; default: nowhere, and nothing is traced.',
    ),
  serviceName: z
    .string()
    .min(1)
    .default('trivetmq')
    .describe('`service.name` of the spans; `broker.name` is their `service.instance.id`.'),
  ratio: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      'Share of the messages without a trace context that begin a trace here, and get its context.',
    ),
  spansPerSecondMax: z
    .int()
    .min(1)
    .default(1_000)
    .describe('Spans made in one second at most; further ones are counted and left out.'),
})

export type TracingOptions = z.output<z.ZodObject<ReturnType<typeof tracingSettings>>>
