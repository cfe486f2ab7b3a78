// docs/reference/admin-api.md, as the endpoints are declared. Run by itself it prints the page.
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { API_PREFIX, type Endpoint } from '../../../src/gateway/http/api/endpoint.ts'
import { ENDPOINTS } from '../../../src/gateway/http/api/table.ts'

const HEAD = `# Admin API

Requests to ${API_PREFIX} of [HTTP](../operate/http.md), with JSON both ways. \`${API_PREFIX}/openapi.json\` is the same as an
OpenAPI 3.1 document. [How it is used](../operate/http.md#the-admin-api) says what holds for all of them.
This page is generated from the declarations in the source.
`

type Json = Readonly<Record<string, unknown>>

export function apiPage(endpoints: readonly Endpoint[]): string {
  return HEAD + endpoints.map(section).join('')
}

function section(one: Endpoint): string {
  const parts = [`\n## ${one.method} ${one.path}\n\n${one.summary}. Answers: ${one.answers}\n`]
  if (one.query !== undefined) parts.push(table('query', one.query))
  if (one.body !== undefined) parts.push(table('body', one.body))
  return parts.join('')
}

function table(of: string, schema: z.ZodType): string {
  const shape = z.toJSONSchema(schema, { io: 'input' }) as {
    properties?: Record<string, Json>
    required?: readonly string[]
  }
  const rows = Object.entries(shape.properties ?? {}).map(([name, property]) => {
    const { description = '', default: fallback } = property
    const isNeeded = shape.required?.includes(name) === true
    const end = isNeeded ? 'needed' : fallback === undefined ? '' : `\`${String(fallback)}\``
    return `| \`${name}\` | ${typeOf(property)} | ${end} | ${String(description)} |\n`
  })
  return `\n| ${of} | type | default | meaning |\n|---|---|---|---|\n${rows.join('')}`
}

function typeOf({ type, enum: values, anyOf, items, properties }: Json): string {
  if (Array.isArray(values)) return values.map((value) => `\`${value}\``).join(', ')
  if (Array.isArray(anyOf)) return anyOf.map((one) => typeOf(one as Json)).join(' or ')
  if (type === 'array') return `list of ${typeOf(items as Json)}`
  if (properties !== undefined) {
    const names = Object.entries(properties as Record<string, Json>)
    return `{ ${names.map(([name, property]) => `\`${name}\`: ${typeOf(property)}`).join(', ')} }`
  }
  return type === 'object' ? 'names and texts' : String(type)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(apiPage(ENDPOINTS))
