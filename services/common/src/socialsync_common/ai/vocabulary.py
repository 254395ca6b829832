"""Words of common courtesy, and words that no business says in public. In English and French, without accents."""

from __future__ import annotations

import re

from socialsync_common.ai.intent import words

COURTESY = words(
    """
    able absolutely again along always also anything appreciate ask asking available back been best can check cheers come coming
    comment contact could course day delighted directly enjoy enjoyed enjoying enjoys enquiry evening every find first
    friendly get give giving glad great happily happy hear hearing help here hope hoping how if interest interested just
    kind kindly kindness let like look looking lovely made make makes mean means message moment more morning most much
    nice nicely offer only order our ours part people pleased pleasure please possible question questions really reach
    read reads reading right see send service share shop soon sorry still stop support sure sweet take team thank thanks that them
    then there they thoughtful time today together tomorrow too touched truly unfortunately very visit visiting wait
    warm warmly way week weekend welcome well wish wishes wonderful word words would write writing you your yourself us
    automatic assistant person say answer reply their these those into but over after before until between up down per
    both other than while since off out through around once don won isn aren doesn didn hasn haven wouldn couldn

    accueillir accueil agreable ailleurs aime aimer ainsi alors apprecie apprecions apres attendons attention aucun aucune
    aujourd hui aussi autre autres avant avis beau beaucoup belle bien bienvenue bientot bon bonne bons bonnes
    boutique certainement cela celle celui chaleureusement chaleureux chaque chez cher chere clair comme comment
    commentaire compte compris contact contactez content contente contents contentes cordialement courage d dans deja
    demain demande demander depuis desole desoles desolee directement disponible disponibles dispose disposition dit
    donc doux ecrire ecrivez effet encore enchante ensemble enfin entre equipe est-ce excellente excellent exactement
    fait faites fidele fidelite fin gentil gentille gentillesse gentils grand grande grace heureuse heureux heure heures
    hesitez hier ici idee immense ira jamais joie joli jolie jour journee jours jusqu juste la-bas lors lorsque magnifique
    mais malheureusement matin meilleur meilleure meme mercis message mesure mieux moment mot mots notre nous nouveau
    nouvelle oh oui ou pareil parfait parfaitement parmi partage partager passer passez passage pendant pense pensee peu
    peut plaisir plus plutot pourra pourrez pouvons possible pres prochain prochaine proche profitez propose proposons
    quelques question questions raison ravi ravie ravis ravies remercie remercions remercier reponse reste retour
    retrouver revenir revoir sait savoir semaine sera seront serons seulement simplement soir soiree soit sommes
    souhait souhaite souhaitons soutien souvent suis super sur tard tellement temps tot touche touches toujours tout
    toute toutes tous tres trop trouver trouverez trouvez vers venez venir venue verite vite vivement voici voila voir
    volontiers voulez vraiment weekend l n s t m j qu c y ca
    assistant automatique automatiques personne plait
    """
)

NEVER_SAID = re.compile(
    r"\b(?:scams?|scammers?|frauds?|fraudsters?|thie(?:f|ves)|hacked|pwned|hackers?|stupid|idiots?|morons?|dumb|trash|garbage|losers?|sucks?|shit\w*|fuck\w*"
    r"|bitch\w*|bastards?|hate you|nazis?|racists?|poison\w*|disgusting|ugly|bankrupt\w*|rip off|shut(?:ting)? down|clos(?:e|es|ed|ing) (?:for good|forever|down|permanently)"
    r"|out of business|rats?|cockroach\w*|arnaqu\w*|escro\w*|voleu\w*|merd\w*|connards?|connasses?|cretins?|nuls|nulles?|debiles?|imbeciles?"
    r"|abrutis?|infects?|infectes?|degueulasses?|faillite|cafards?|empoisonn\w*|(?:ete|est|sont|suis|sommes) pirate(?:e?s?)"
    r"|ferm\w+ (?:definitivement|pour toujours|boutique)|definitivement ferme\w*)\b"
)
