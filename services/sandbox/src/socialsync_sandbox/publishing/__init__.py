"""Posts of Instagram accounts and Facebook Pages, as the Graph API takes and shows them."""
