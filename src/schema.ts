// How zod checks in this process. Comes before the first schema is used: each is used a few times
// at most, so code that is made for it at run time is never worth its price.
import { z } from 'zod'

z.config({ jitless: true })
