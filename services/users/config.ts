import { parseEnv, serviceEnv } from '#lib/config.ts'

/** This process' settings. Throws an error that names every variable that is wrong. */
export const readConfig = (env: NodeJS.ProcessEnv = process.env) => parseEnv(serviceEnv, env)
