// The settings of logins beside the users themselves.
import { z } from 'zod'

export const jwtSettings = () => ({
  keys: z
    .string()
    .min(1)
    .optional()
    .describe(
      'File with a JWK set (RFC 7517): what tokens are signed with. Read again when it changes; default: no tokens are taken.',
    ),
  audience: z
    .string()
    .min(1)
    .optional()
    .describe('What `aud` of a token has to name; needed with `jwt.keys`.'),
  issuer: z.string().min(1).optional().describe('What `iss` of a token has to be; default: any.'),
  userClaim: z.string().min(1).default('sub').describe('The claim that names the user.'),
})

export type JwtOptions = z.output<z.ZodObject<ReturnType<typeof jwtSettings>>>

/** The issuer makes tokens for other services too, and these must not let in here. */
export const jwtProblems = ({ keys, audience }: JwtOptions) =>
  keys !== undefined && audience === undefined
    ? [
        {
          path: ['jwt', 'audience'],
          message: 'needed with jwt.keys: tokens made for others are refused by it',
        },
      ]
    : []
