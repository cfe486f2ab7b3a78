// The admin API as an OpenAPI 3.1 document, made from the declarations of its endpoints.
import { z } from 'zod'
import { ownVersion } from '../../../version.ts'
import { API_PREFIX, type Endpoint } from './endpoint.ts'

type Json = Readonly<Record<string, unknown>>

export function openApi(endpoints: readonly Endpoint[]): Json {
  const paths: Record<string, Record<string, Json>> = {}
  for (const one of endpoints) {
    const path = one.path.replaceAll(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [one.method.toLowerCase()]: operationOf(one) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'TrivetMQ admin API',
      version: ownVersion(),
      description: 'Everything that the command line reads and does.',
    },
    servers: [{ url: API_PREFIX }],
    security: [{ basic: [] }, {}],
    paths,
    components: {
      securitySchemes: { basic: { type: 'http', scheme: 'basic' } },
      schemas: { Problem: PROBLEM },
    },
  }
}

function operationOf(one: Endpoint): Json {
  const schema = { type: 'object', additionalProperties: true }
  const problem = { $ref: '#/components/schemas/Problem' }
  const isEmpty = one.answers === 'Nothing.'
  const answer = isEmpty ? {} : { content: { 'application/json': { schema } } }
  return {
    summary: one.summary,
    operationId: `${one.method.toLowerCase()}${one.path.replaceAll(/[/:-]+(\w)/g, (_, letter) => letter.toUpperCase())}`,
    tags: [one.path.split('/')[1] ?? ''],
    parameters: [...pathParameters(one), ...queryParameters(one)],
    ...(one.body !== undefined && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: schemaOf(one.body) } },
      },
    }),
    responses: {
      [isEmpty ? '204' : '200']: { description: one.answers, ...answer },
      default: {
        description: 'What is wrong.',
        content: { 'application/problem+json': { schema: problem } },
      },
    },
  }
}

const pathParameters = ({ path }: Endpoint): Json[] =>
  [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))

function queryParameters({ query }: Endpoint): Json[] {
  if (query === undefined) return []
  const { properties = {} } = schemaOf(query) as { properties?: Record<string, Json> }
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    ...{ name, in: 'query', required: false, schema },
    ...(description !== undefined && { description }),
  }))
}

function schemaOf(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return rest
}

const PROBLEM: Json = {
  type: 'object',
  description: 'RFC 9457.',
  properties: {
    status: { type: 'integer' },
    title: { type: 'string' },
    detail: { type: 'string' },
    code: { type: 'string', description: "The broker's error code, where it is one." },
    retryable: { type: 'boolean', description: 'The same request may succeed later.' },
  },
  required: ['status', 'title', 'detail'],
}
